//! config.json as types: bytes in, types out.
pub mod mount_options;
use crate::error::*;
#[derive(Debug)]
pub struct Spec {
    pub oci: oci_spec::runtime::Spec,
    pub warnings: Vec<String>,
}
pub fn parse(bytes: &[u8]) -> Result<Spec> {
    let oci = serde_json::from_slice(bytes).map_err(|e| Error::new(Kind::InvalidSpec, e.to_string()))?;
    Ok(Spec {
        oci,
        warnings: vec![],
    })
}
pub fn sysctl_path(key: &str) -> String {
    key.replace('.', "/")
}
