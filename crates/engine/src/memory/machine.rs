//! What memory the host has left: the kernel's estimate, within the limits of the control groups. Known on Linux only.

use std::fs;

/// A limit of a control group of version 1 that is above any memory stands for none.
const NO_LIMIT: usize = 1 << 60;

/// Bytes that can still be taken without pushing anything out; `None` where the system does not say.
pub(super) fn available_bytes() -> Option<usize> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| mem_available(&text))?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    Some(group_folders(&groups).iter().filter_map(|folder| group_left(folder)).fold(machine, usize::min))
}

/// The line `MemAvailable` of `/proc/meminfo`, in bytes.
fn mem_available(text: &str) -> Option<usize> {
    let rest = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    rest.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

/// Folders of the process's own groups and of all above them: the tightest limit counts.
fn group_folders(groups: &str) -> Vec<String> {
    let mut folders = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let root = match controllers {
            "" => "/sys/fs/cgroup",
            named if named.split(',').any(|name| name == "memory") => "/sys/fs/cgroup/memory",
            _ => continue,
        };
        let mut path = path.trim_end_matches('/');
        loop {
            folders.push(format!("{root}{path}"));
            let Some((above, _)) = path.rsplit_once('/') else { break };
            path = above;
        }
    }
    folders
}

/// What a group may still take; pages of files that can be given back do not count as taken.
fn group_left(folder: &str) -> Option<usize> {
    let read = |name: &str| fs::read_to_string(format!("{folder}/{name}")).ok();
    let number = |name: &str| read(name)?.trim().parse::<usize>().ok();
    let (limit, taken) = match number("memory.max") {
        Some(limit) => (limit, number("memory.current")?),
        None => (number("memory.limit_in_bytes")?, number("memory.usage_in_bytes")?),
    };
    let inactive = read("memory.stat").and_then(|text| inactive_file(&text)).unwrap_or(0);
    (limit < NO_LIMIT).then(|| limit.saturating_sub(taken.saturating_sub(inactive)))
}

/// Bytes of files' pages that nobody has used lately, of `memory.stat`.
fn inactive_file(text: &str) -> Option<usize> {
    let find = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok());
    find("total_inactive_file").or_else(|| find("inactive_file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        assert_eq!(mem_available("MemTotal:  9 kB\nMemAvailable:    7 kB\n"), Some(7 * 1024));
        assert_eq!(mem_available("MemTotal:  9 kB\n"), None);
        assert_eq!(inactive_file("anon 5\ninactive_file 6\n"), Some(6));
        assert_eq!(inactive_file("inactive_file 6\ntotal_inactive_file 8\n"), Some(8));
    }

    #[test]
    fn a_group_is_bound_by_those_above_it() {
        let root = "/sys/fs/cgroup".to_string();
        assert_eq!(group_folders("0::/a/b\n"), [format!("{root}/a/b"), format!("{root}/a"), root.clone()]);
        assert_eq!(group_folders("5:cpu,memory:/\n4:cpu:/x\nnonsense\n"), [format!("{root}/memory")]);
    }
}
