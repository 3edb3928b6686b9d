//! Reading: types, names, what Go takes and serde doesn't, broken text. The rules have tests of their own.

use serde_json::{Value, json};

use super::shape::{Need, Shape};
use super::*;
use crate::error::Fault;

/// Every field of the spec, each with a value of the right type (and no regard for the rules).
const ALL: &str = include_str!("testdata/all.json");

fn all() -> Value {
    serde_json::from_str(ALL).unwrap()
}

/// What is wrong with the types of `document`, and what is unusual.
fn read(document: &Value) -> (Vec<Fault>, Vec<String>) {
    let bytes = document.to_string().into_bytes();
    match quick(&bytes) {
        Ok(_) => (vec![], vec![]),
        Err(reason) => match thorough(&bytes, reason) {
            Ok((_, found)) => (found.faults, found.warnings),
            Err(error) => (error.faults, vec![]),
        },
    }
}

/// A value in a document, as RFC 6901 and as our messages name it.
struct Place {
    pointer: String,
    path: String,
    shape: &'static Shape,
    need: Need,
}

/// Every value of `document` that `shape` knows, itself included. Fails if a field isn't there.
fn places(document: &Value, place: Place, into: &mut Vec<Place>) {
    let inner = |step: &str, path: String, shape, need| Place {
        pointer: format!("{}/{step}", place.pointer),
        path,
        shape,
        need,
    };
    match (place.shape, document) {
        (Shape::Object(fields), Value::Object(entries)) => {
            for field in *fields {
                let dot = if place.path.is_empty() { "" } else { "." };
                let path = format!("{}{dot}{}", place.path, field.name);
                let Some(value) = entries.get(field.name) else {
                    // The second of two mounts has all of it.
                    assert!(path.starts_with("mounts[0]") || path == "linux.namespaces[0].path", "{path}");
                    continue;
                };
                places(value, inner(field.name, path, field.shape, field.need), into);
            }
        }
        (Shape::List(shape), Value::Array(items)) => {
            for (i, item) in items.iter().enumerate() {
                let path = format!("{}[{i}]", place.path);
                places(item, inner(&i.to_string(), path, shape, Need::Required), into);
            }
        }
        (Shape::Map(shape), Value::Object(entries)) => {
            for (key, value) in entries {
                let path = format!("{}[{key}]", place.path);
                places(value, inner(key, path, shape, Need::Optional), into);
            }
        }
        _ => {}
    }
    if !matches!(place.shape, Shape::Foreign) {
        into.push(place);
    }
}

fn all_places() -> Vec<Place> {
    let document =
        Place { pointer: String::new(), path: String::new(), shape: &schema::CONFIG, need: Need::Required };
    let mut found = vec![];
    places(&all(), document, &mut found);
    assert!(found.len() > 200, "{}", found.len());
    found
}

fn with(pointer: &str, value: Value) -> Value {
    let mut document = all();
    *document.pointer_mut(pointer).unwrap() = value;
    document
}

fn paths(faults: &[Fault]) -> Vec<&str> {
    faults.iter().map(|fault| fault.path.as_str()).collect()
}

#[test]
fn the_table_and_oci_spec_agree() {
    assert_eq!(read(&all()), (vec![], vec![]));
    for place in all_places() {
        let good: Vec<Value> = match place.shape {
            Shape::Word(words) => words.iter().map(|word| json!(word)).collect(),
            Shape::Number(min, max) => {
                [*min, *max].map(|n| serde_json::from_str(&n.to_string()).unwrap()).into()
            }
            Shape::Capped => vec![json!(0), json!(u64::MAX)],
            Shape::Flag => vec![json!(true), json!(false)],
            Shape::List(_) => vec![json!([])],
            Shape::Map(_) => vec![json!({})],
            _ => vec![],
        };
        for value in good {
            let (faults, warnings) = read(&with(&place.pointer, value.clone()));
            assert_eq!((faults, warnings), (vec![], vec![]), "{} = {value}", place.path);
        }
    }
}

#[test]
fn every_wrong_type_is_named_by_its_path() {
    for place in all_places() {
        let mut bad = vec![json!(true), json!(5), json!(1.5), json!("x\u{0}y"), json!([[]]), json!({"a": 1})];
        bad.retain(|value| match place.shape {
            Shape::Text | Shape::Capability => !value.is_string(),
            Shape::Flag => !value.is_boolean(),
            Shape::Number(..) | Shape::Capped => !value.is_u64(),
            Shape::List(_) => !value.is_array(),
            Shape::Map(_) | Shape::Object(_) => !value.is_object(),
            _ => true,
        });
        match place.shape {
            Shape::Number(min, max) => {
                for n in [min - 1, max + 1] {
                    bad.push(serde_json::from_str(&n.to_string()).unwrap());
                }
            }
            Shape::Word(_) => bad.push(json!("NO_SUCH_WORD")),
            Shape::Object(_) => bad.extend([json!([]), json!([1, 2])]),
            _ => {}
        }
        for value in bad {
            let (faults, _) = read(&with(&place.pointer, value.clone()));
            let path = if place.path.is_empty() { "the document" } else { &place.path };
            assert_eq!(paths(&faults), [path], "{path} = {value}: {faults:?}");
            assert!(faults[0].text.contains("expected"), "{}", faults[0]);
        }
    }
}

#[test]
fn null_is_not_there() {
    for place in all_places() {
        let (faults, _) = read(&with(&place.pointer, Value::Null));
        let expected = match place.need {
            Need::Required if place.path.is_empty() => vec!["the document"],
            Need::Required => vec![place.path.as_str()],
            _ => vec![],
        };
        assert_eq!(paths(&faults), expected, "{}", place.path);
    }
}

#[test]
fn any_key_can_be_missing() {
    for place in all_places() {
        let Some((parent, key)) = place.pointer.rsplit_once('/') else {
            continue;
        };
        let mut document = all();
        let Some(entries) = document.pointer_mut(parent).and_then(Value::as_object_mut) else {
            continue;
        };
        entries.remove(key).unwrap();
        let (faults, _) = read(&document);
        let expected = if place.need == Need::Required { vec![place.path.as_str()] } else { vec![] };
        assert_eq!(paths(&faults), expected, "without {}", place.path);
    }
}

#[test]
fn all_types_and_rules_at_once() {
    let mut document = all();
    document["process"]["cwd"] = json!(5);
    document["process"]["user"]["uid"] = json!(-1);
    document["mounts"] = json!([{"type": 7}, "x", {"destination": "", "type": "tmpfs"}]);
    document["linux"] = json!({"namespaces": [{"type": "pid"}, {"type": "net"}, {"type": "pid"}]});
    document["root"]["path"] = json!("");
    let error = parse(document.to_string().as_bytes()).unwrap_err();
    let mut found = paths(&error.faults);
    found.sort_unstable();
    // No follow-up faults: the host name could have its namespace where the list is broken.
    let expected = [
        "linux.namespaces[1].type",
        "linux.namespaces[2].type",
        "mounts[0].destination",
        "mounts[0].type",
        "mounts[1]",
        "mounts[2].destination",
        "process.cwd",
        "process.user.uid",
        "root.path",
    ];
    assert_eq!(found, expected, "{error}");
}

#[test]
fn names_match_in_any_case() {
    let spelt = ALL.replace("\"readonly\"", "\"readOnly\"").replace("\"seccomp\"", "\"SECCOMP\"");
    let (oci, found) = thorough(spelt.as_bytes(), None).unwrap();
    assert_eq!(oci.root().as_ref().unwrap().readonly(), Some(true));
    assert!(oci.linux().as_ref().unwrap().seccomp().is_some());
    assert_eq!(
        found.warnings,
        [
            "root.readOnly: read as \"readonly\", which is its spelling",
            "linux.SECCOMP: read as \"seccomp\", which is its spelling"
        ]
    );
    assert!(quick(spelt.as_bytes()).is_err(), "serde would ignore them");
}

#[test]
fn what_engines_write_takes_one_pass() {
    let text = default::default_config(None);
    assert!(quick(text.as_bytes()).is_ok());
    let with_nulls = text.replace("\"hostname\": \"rrunc\"", "\"hostname\": null, \"hooks\": null");
    assert!(quick(with_nulls.as_bytes()).is_ok());
    let with_keys = text.replace("\"hostname\"", "\"annotations\": {\"Process\": \"[]\"}, \"hostname\"");
    assert!(quick(with_keys.as_bytes()).is_ok(), "keys of a map are the user's");
}

#[test]
fn unknown_capabilities_are_left_out() {
    let mut document = all();
    document["process"]["capabilities"]["bounding"] = json!(["CAP_NEW", "CAP_KILL", "CAP_NEWER"]);
    let (oci, found) = thorough(document.to_string().as_bytes(), None).unwrap();
    let sets = oci.process().as_ref().unwrap().capabilities().clone().unwrap();
    assert_eq!(sets.bounding().as_ref().unwrap().len(), 1);
    assert_eq!(
        found.warnings,
        [
            "process.capabilities.bounding[0]: \"CAP_NEW\" is not a capability, it is left out",
            "process.capabilities.bounding[2]: \"CAP_NEWER\" is not a capability, it is left out"
        ]
    );
}

#[test]
fn the_last_of_two_counts() {
    let text = ALL.replace("\"cwd\": \"/\"", "\"cwd\": 5, \"cwd\": \"/tmp\"");
    let twice = ALL.replace("\"cwd\": \"/\"", "\"cwd\": \"/\", \"cwd\": \"/tmp\"");
    for text in [text, twice] {
        let reason = quick(text.as_bytes()).unwrap_err();
        let (oci, _) = thorough(text.as_bytes(), reason).unwrap();
        assert_eq!(oci.process().as_ref().unwrap().cwd().to_str(), Some("/tmp"));
    }
}

#[test]
fn a_limit_of_no_processes_is_none_before_version_1_3() {
    for (version, limit, expected) in [("1.0.2", 0, -1), ("1.2.1", 0, -1), ("1.2.1", 7, 7), ("1.3.0", 0, 0)] {
        let mut document = all();
        document["ociVersion"] = json!(version);
        document["linux"]["resources"]["pids"]["limit"] = json!(limit);
        let oci = as_meant(thorough(document.to_string().as_bytes(), None).unwrap().0);
        let resources = oci.linux().as_ref().unwrap().resources().clone().unwrap();
        assert_eq!(resources.pids().unwrap().limit(), expected, "{version} {limit}");
    }
}

#[test]
fn what_oci_spec_can_not_hold() {
    let mut document = all();
    document["linux"]["resources"]["pids"] = json!({});
    document["linux"]["resources"]["hugepageLimits"][0]["limit"] = json!(u64::MAX);
    document["process"].as_object_mut().unwrap().remove("user");
    document["process"]["execCPUAffinity"] = json!({"initial": "0"});
    let flags = ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN"];
    document["process"]["scheduler"] = json!({"policy": "SCHED_RR", "flags": flags});
    let bytes = document.to_string().into_bytes();
    let (oci, found) = thorough(&bytes, quick(&bytes).unwrap_err()).unwrap();
    assert_eq!(found.faults, []);
    let resources = oci.linux().as_ref().unwrap().resources().clone().unwrap();
    assert!(resources.pids().is_none(), "no limit is not a limit of 0");
    assert_eq!(resources.hugepage_limits().as_ref().unwrap()[0].limit(), i64::MAX);
    let process = oci.process().as_ref().unwrap();
    assert_eq!(process.user().uid(), 0);
    let flags = process.scheduler().as_ref().unwrap().flags().clone().unwrap();
    use runtime::LinuxSchedulerFlag::{SchedFlagDLOverrun, SchedResetOnFork};
    assert_eq!(flags, [SchedResetOnFork, SchedFlagDLOverrun]);
}

#[test]
fn messages() {
    let check = |pointer: &str, value: Value, expected: &str| {
        let (faults, _) = read(&with(pointer, value));
        assert_eq!(faults[0].to_string(), expected);
    };
    check(
        "/process/user/uid",
        json!("5"),
        "process.user.uid: is \"5\", expected a whole number from 0 to 4294967295",
    );
    check("/process/args", json!("sh"), "process.args: is \"sh\", expected a list");
    check(
        "/linux/personality/domain",
        json!("linux"),
        "linux.personality.domain: is \"linux\", expected one of \"LINUX\", \"LINUX32\"",
    );
    check(
        "/linux/namespaces/1/type",
        json!(null),
        "linux.namespaces[1].type: is missing, expected one of \"pid\", \"network\", \"mount\", \"ipc\", \"uts\", \
         \"user\", \"cgroup\", \"time\"",
    );
    check(
        "/annotations/com.example.key",
        json!({"long": 1}),
        "annotations[com.example.key]: is an object, expected a string",
    );
}

#[test]
fn broken_text_has_a_place_and_advice() {
    let check = |text: &str, expected: &str| {
        let error = parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("config.json"), "{error}");
        assert!(error.contains(expected), "{text:?}: {error}");
    };
    check("", "the file is empty");
    check(" \n", "the file is empty");
    check("{\n  \"a\": 1,\n}", "line 3, column 1: trailing comma, found '}' (remove the comma");
    check("{\"a\": 1", "the file ends here (the file ends too early");
    check("{\"a\" 1}", "line 1, column 6: expected `:`, found '1'");
    check("{\"a\": 1\n\"b\": 2}", "line 2, column 1: expected `,` or `}`, found '\"'");
    check("{a: 1}", "key must be a string, found 'a' (names stand in double quotes");
    check("{// note\n}", "JSON has no comments");
    check("{} {}", "trailing characters, found '{'");
    check("{\"a\": \"x\ty\"}", "a tab \\t");
    check("\u{feff}{}", "byte order mark");
    check("{\"a\": 'x'}", "expected value, found '\\''");
    check("[]", "the document: is a list, expected an object");
    check("null", "the document");
    check(&"[".repeat(100_000), "recursion limit");
}

#[test]
fn no_prefix_of_a_document_is_one() {
    let text = default::default_config(None);
    for end in (0..text.len()).step_by(13) {
        assert!(parse(&text.as_bytes()[..end]).is_err(), "{end}");
    }
}

#[test]
fn a_flood_of_faults_is_counted() {
    let namespaces: Vec<_> = (0..5000).map(|_| json!({"type": "x"})).collect();
    let error = parse(json!({"linux": {"namespaces": namespaces}}).to_string().as_bytes()).unwrap_err();
    assert_eq!(error.faults.len(), 101);
    // 4900 more namespaces, no version, no root.
    assert_eq!(error.faults[100].to_string(), "further faults: 4902");
}

#[test]
fn damage_is_no_reason_to_panic() {
    let text = default::default_config(None).into_bytes();
    let mut random = 1_u32;
    let mut next = |end: usize| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223); // Numerical Recipes
        (random >> 8) as usize % end
    };
    let mut readable = 0;
    for _ in 0..300 {
        let mut text = text.clone();
        for _ in 0..3 {
            let place = next(text.len());
            text[place] = b"{}[]\":,0-ex\\\0\xff"[next(14)];
        }
        readable += usize::from(parse(&text).is_ok());
    }
    assert!((1..200).contains(&readable), "{readable}");
}

/// Whatever order a map happens to have in memory.
#[test]
fn faults_of_a_map_are_told_in_the_order_of_its_keys() {
    let check = |pointer: &str, value: Value, path: &str| {
        let faults = parse(with(pointer, value).to_string().as_bytes()).unwrap_err().faults;
        let told: Vec<_> =
            paths(&faults).into_iter().filter(|told| told.starts_with(&format!("{path}["))).collect();
        assert_eq!(told, ["a", "b", "c", "d", "e", "f"].map(|key| format!("{path}[{key}/]")));
    };
    let of = |value: Value| ["f/", "b/", "d/", "a/", "e/", "c/"].map(|key| (key.to_string(), value.clone()));
    let map = |value: Value| Value::Object(of(value).into_iter().collect());
    check("/linux/timeOffsets", map(json!({"secs": 1})), "linux.timeOffsets");
    check("/linux/resources/unified", map(json!("1")), "linux.resources.unified");
    check("/linux/netDevices", map(json!({})), "linux.netDevices");
    check("/linux/sysctl", map(json!("1")), "linux.sysctl");
}
