//! Update: other limits.

use super::part_of_config;
use crate::order::Order;
use crate::proto::task::UpdateTaskRequest;
use crate::refusal::Refusal;
use crate::serve::Shim;
use crate::serve::connection::ReplyTo;
use crate::serve::live::Purpose;
use crate::serve::requests::{Answer, LATER};

impl Shim {
    pub fn update(&mut self, request: UpdateTaskRequest, reply: ReplyTo) -> Answer {
        let (id, _) = self.table.find(&request.id, "")?;
        let resources = request.resources.filter(|any| !any.value.is_empty());
        let resources = resources
            .ok_or_else(|| Refusal::invalid(format!("container {}: no resources are given", request.id)))?;
        let resources = part_of_config(resources, "LinuxResources")?;
        self.command(id, Purpose::Update, Order::Update(&resources), Some(reply))?;
        LATER
    }
}
