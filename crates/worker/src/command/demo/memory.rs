//! Memory of this process, for the demo's report.

/// Returns the resident set size of this process in bytes, or `None` without `/proc/self/status` (proc(5)).
///
/// `statm` counts in pages, whose size only an unsafe call returns.
pub(super) fn resident_bytes() -> Option<u64> {
    resident_in(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn resident_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_line_is_read_in_bytes() {
        let status = "VmHWM:\t    9000 kB\nVmRSS:\t    4104 kB\nRssAnon:\t 100 kB\n";
        assert_eq!(resident_in(status), Some(4104 * 1024));
        assert_eq!(resident_in("Name:\tx\n"), None);
        assert_eq!(resident_in("VmRSS:\t-1 kB\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_touched_becomes_resident() {
        let before = resident_bytes().unwrap();
        let touched = std::hint::black_box(vec![1_u8; 256 << 20]);
        let after = resident_bytes().unwrap();
        drop(touched);
        assert!(after > before + (128 << 20), "{before} -> {after}");
    }

    #[test]
    #[cfg(not(target_os = "linux"))]
    fn other_systems_tell_nothing() {
        assert_eq!(resident_bytes(), None);
    }
}
