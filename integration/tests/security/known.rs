//! Every known way out of a container, and the test of it: so that none is without one, and that whoever looks for one by
//! its number finds the test.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const CHECKPOINT: &str = "integration/tests/security/checkpoint.rs";
const CONFIG: &str = "integration/tests/security/config.rs";
const KEYRING: &str = "integration/tests/security/keyring.rs";
const LANDED: &str = "integration/tests/security/mounts.rs";
const OWN_BINARY: &str = "integration/tests/security/own_binary.rs";
const PROCESS: &str = "integration/tests/security/process.rs";
const RACE: &str = "integration/tests/security/race.rs";

/// The weakness of one of the runtimes, by its number, and the file and function of the test that names it.
const TESTED: &[(&str, &str, &str)] = &[
    ("CVE-2016-3697", CONFIG, "a_numeric_user_is_no_name"),
    ("CVE-2016-9962", PROCESS, "a_waiting_process_is_closed_to_its_neighbours"),
    ("CVE-2019-5736", OWN_BINARY, "who_comes_into_a_container_gives_no_hold_on_our_binary"),
    ("CVE-2019-16884", LANDED, "proc_is_covered_by_nothing"),
    ("CVE-2019-18837", LANDED, "mount_points_that_are_symlinks_stay_in_the_root"),
    ("CVE-2019-19921", LANDED, "proc_and_sys_need_ordinary_directories"),
    ("CVE-2019-19921", RACE, "a_swapped_proc_is_mounted_on_an_ordinary_directory_or_not_at_all"),
    ("GHSA-g54h-m393-cpwq", CONFIG, "the_order_of_device_rules_is_kept"),
    ("CVE-2020-15257", "shim/tests/it/place.rs", "its_socket_is_for_its_own_user"),
    ("CVE-2021-30465", RACE, "a_swapped_mount_point_reaches_no_host_file"),
    ("CVE-2021-43784", CONFIG, "what_is_too_long_is_refused"),
    ("CVE-2022-0811", PROCESS, "a_sysctl_is_one_setting_of_the_containers"),
    ("CVE-2022-24769", PROCESS, "nothing_is_inheritable_by_default"),
    ("CVE-2022-27650", PROCESS, "nothing_is_inheritable_by_default"),
    ("CVE-2022-29162", CONFIG, "a_process_of_exec_gets_no_more_capabilities"),
    ("CVE-2023-25809", CONFIG, "cgroups_of_the_host_are_not_writable"),
    ("CVE-2023-27561", LANDED, "proc_and_sys_need_ordinary_directories"),
    ("CVE-2023-28642", LANDED, "proc_and_sys_need_ordinary_directories"),
    ("CVE-2024-21626", PROCESS, "a_directory_that_is_an_fd_is_refused"),
    ("CVE-2024-25621", PROCESS, "state_is_for_its_owner_alone"),
    ("CVE-2024-40635", PROCESS, "ids_that_are_none_are_refused"),
    ("CVE-2024-45310", RACE, "a_swapped_mount_point_reaches_no_host_file"),
    ("CVE-2025-24965", CONFIG, "nothing_is_written_into_the_image"),
    ("CVE-2025-27612", CONFIG, "a_process_of_exec_gets_no_more_capabilities"),
    ("CVE-2025-31133", LANDED, "a_mask_is_not_made_of_the_images_null"),
    ("CVE-2025-52565", LANDED, "devices_that_are_symlinks_reach_no_host_file"),
    ("CVE-2025-52881", CONFIG, "settings_and_labels_pass_by_the_images_proc"),
    ("CVE-2025-54867", LANDED, "proc_and_sys_need_ordinary_directories"),
    ("CVE-2025-62161", LANDED, "a_mask_is_not_made_of_the_images_null"),
    ("CVE-2025-62596", CONFIG, "settings_and_labels_pass_by_the_images_proc"),
    ("CVE-2026-30892", CONFIG, "what_is_no_number_is_no_user"),
    ("CVE-2026-41579", LANDED, "a_dev_that_is_a_symlink_stays_in_the_root"),
    ("CVE-2026-46680", CONFIG, "a_numeric_user_is_no_name"),
    ("CVE-2026-47262", CONFIG, "exec_reads_huge_databases_to_a_bound"),
    ("CVE-2026-47766", LANDED, "a_dev_that_is_a_symlink_stays_in_the_root"),
    ("CVE-2026-61801", PROCESS, "a_huge_passwd_is_read_to_a_bound"),
    ("CVE-2026-88264", LANDED, "devices_that_are_symlinks_reach_no_host_file"),
    ("CVE-2026-88265", LANDED, "devices_that_are_symlinks_reach_no_host_file"),
    ("CVE-2026-115520", CHECKPOINT, "a_key_of_a_checkpoint_names_no_directory"),
    ("CVE-2026-115520", "spec-tests/tests/checkpoint.rs", "a_path_cannot_say_which_mount_is_meant"),
    ("CVE-2026-119101", CHECKPOINT, "a_key_of_a_checkpoint_names_no_directory"),
    ("CVE-2026-119614", CHECKPOINT, "a_key_of_a_checkpoint_names_no_directory"),
    ("CVE-2026-115521", LANDED, "a_read_only_root_is_one_whatever_its_proc"),
];

/// Those about what rrunc and its shim don't do.
const NOT_OURS: &[(&str, &str)] = &[
    ("CVE-2022-23648", "containerd: volumes of an image are copied by the engine"),
    ("CVE-2025-64329", "containerd: attach is served by the engine"),
    ("CVE-2026-53489", "containerd: reads a log out of a checkpoint; ours is criu's own, opened before"),
    ("CVE-2026-53492", "containerd: device annotations are the engine's"),
    ("CVE-2026-84042", "crun with libkrun: there are no virtual machines here"),
];

/// What hardens without such a number: each class, and where it is tested.
const CLASSES: &[(&str, &str, &str)] = &[
    ("ids of containers", "spec-tests/tests/lifecycle.rs", "an_id_may_not_leave_the_state_directory"),
    ("cgroups of exec", "spec-tests/tests/exec.rs", "a_cgroup_below_the_containers"),
    ("symlinks at mount points", LANDED, "mount_points_that_are_symlinks_stay_in_the_root"),
    ("dots in destinations", LANDED, "dots_in_a_destination_stop_at_the_root"),
    ("fds of the host", PROCESS, "fds_of_the_caller_stay_outside"),
    ("no pivot_root", LANDED, "no_pivot_hides_the_hosts_proc_and_sys"),
    ("sysctls of others", PROCESS, "a_sysctl_is_one_setting_of_the_containers"),
    ("masked and read-only paths", "spec-tests/tests/rootfs.rs", "masked_paths_have_nothing_to_read"),
    ("the caller's terminal", PROCESS, "the_callers_terminal_is_not_controlled_from_inside"),
    ("the session keyring", KEYRING, "a_keyring_that_waits_for_the_container_is_not_joined"),
    ("the caller's keys", KEYRING, "the_callers_keys_stay_outside"),
    ("neighbours' keys", KEYRING, "containers_of_one_user_do_not_get_at_each_others_keyrings"),
    ("refused calls", "integration/tests/fault.rs", "every_refused_call_is_named_and_leaves_nothing"),
    ("no seal", "integration/tests/fault.rs", "a_seal_that_is_refused_has_a_substitute_or_nothing_runs"),
    ("exec by a file", "spec-tests/tests/exec.rs", "a_file_with_faults_is_refused"),
    ("config.json after create", "spec-tests/tests/exec.rs", "the_bundles_config_is_not_read_again"),
    ("pids used again", "src/ops/tests.rs", "another_process_with_the_pid_is_left_alone"),
    ("propagation", "spec-tests/tests/rootfs.rs", "rootfs_propagation_is_what_the_config_says"),
    ("hooks' environment", "spec-tests/tests/hooks.rs", "a_hook_without_env_gets_none_of_the_runtimes"),
];

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// A test with the comment above it.
fn test<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let at = text.find(&format!("fn {name}("))?;
    let start = text[..at].rfind("\n\n").unwrap_or(0);
    let end = text[at..].find("\n}\n").map_or(text.len(), |end| at + end);
    text.get(start..end).filter(|test| test.contains("#[test]"))
}

#[test]
fn each_has_a_test_that_names_it() {
    let mut wrong = Vec::new();
    for (id, file, name) in TESTED {
        match test(&read(file), name) {
            Some(test) if test.contains(id) => {}
            Some(_) => wrong.push(format!("{file}: {name} doesn't name {id}")),
            None => wrong.push(format!("{file} has no test {name}, of {id}")),
        }
    }
    for (class, file, name) in CLASSES {
        if test(&read(file), name).is_none() {
            wrong.push(format!("{file} has no test {name}, of {class}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// And the other way round: what the tests and the source are about is in the list.
#[test]
fn each_that_is_named_is_in_the_list() {
    let listed: BTreeSet<&str> =
        TESTED.iter().map(|(id, ..)| *id).chain(NOT_OURS.iter().map(|(id, _)| *id)).collect();
    let mut unlisted = BTreeSet::new();
    for part in ["src", "shim/src", "shim/tests", "integration/tests", "spec-tests/tests"] {
        let mut todo = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(part)];
        while let Some(path) = todo.pop() {
            if path.is_dir() {
                todo.extend(
                    fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry").path()),
                );
            } else if path.extension().is_some_and(|end| end == "rs") {
                unlisted.extend(numbers(&fs::read_to_string(&path).expect("readable")));
            }
        }
    }
    unlisted.retain(|id| !listed.contains(id.as_str()));
    assert_eq!(unlisted, BTreeSet::new());
}

fn numbers(text: &str) -> Vec<String> {
    let number = |rest: &str| {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(rest.len());
        Some(format!("CVE-{}", rest[..end].trim_end_matches('-'))).filter(|id| id.len() > "CVE-2016-".len())
    };
    text.split("CVE-").skip(1).filter_map(number).collect()
}
