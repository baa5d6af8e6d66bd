//! What the system holds a worker to: memory, processor time, and its process group.
//!
//! Linux has all of it. Elsewhere [`lacking`] says what there is not; nothing pretends.

use std::io;

/// What this system cannot hold a worker to; nothing on Linux.
pub fn lacking() -> Option<&'static str> {
    match (cfg!(target_os = "linux"), cfg!(unix)) {
        (true, _) => None,
        (false, true) => Some("this system does not hold a process to a limit of its memory"),
        (false, false) => Some("this system has neither limits of memory for a process nor process groups"),
    }
}

#[cfg(unix)]
mod system {
    #![allow(unsafe_code, reason = "the limits of a process are set by calls of the C library")]

    use std::io;

    /// Kills all processes of a group that is led by `leader`, a child that has not been waited for: its number cannot
    /// belong to another one.
    pub(super) fn kill_group(leader: u32) {
        // A group 0 would be this process's own, and -1 everybody's.
        let Some(group) = i32::try_from(leader).ok().filter(|group| *group > 1) else { return };
        // SAFETY: takes two numbers and touches no memory.
        unsafe { libc::killpg(group, libc::SIGKILL) };
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    type Resource = libc::__rlimit_resource_t;
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    type Resource = libc::c_int;

    /// Lowers this process's own limit of a resource; never raises it above the one that it was given.
    fn limit(resource: Resource, to: u64) -> io::Result<()> {
        let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `now` is a whole `rlimit` that lives through the call.
        if unsafe { libc::getrlimit(resource, &mut now) } != 0 {
            return Err(io::Error::last_os_error());
        }
        now.rlim_cur = (to as libc::rlim_t).min(now.rlim_max);
        // SAFETY: as above; only read.
        if unsafe { libc::setrlimit(resource, &now) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    pub(super) fn memory(bytes: u64) -> io::Result<()> {
        limit(libc::RLIMIT_AS, bytes)?;
        limit(libc::RLIMIT_CORE, 0)
    }

    pub(super) fn files(bytes: u64, open: u64) -> io::Result<()> {
        limit(libc::RLIMIT_FSIZE, bytes)?;
        limit(libc::RLIMIT_NOFILE, open)
    }

    pub(super) fn processor(seconds: u64) -> io::Result<()> {
        // SAFETY: all zeroes is a valid `rusage`, which the call overwrites.
        let mut used: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `used` is a whole `rusage` that lives through the call.
        if unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut used) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let spent = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) as u64;
        limit(libc::RLIMIT_CPU, spent.saturating_add(seconds).saturating_add(1))
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;

    pub(super) fn kill_group(_: u32) {}

    pub(super) fn memory(_: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn files(_: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn processor(_: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Kills every process of a child's group. The child must not have been waited for, so that its number is still its own.
pub(crate) fn kill_group(leader: u32) {
    system::kill_group(leader);
}

/// Holds this process to so many bytes of address space, and lets it leave no image of its memory behind.
///
/// # Errors
/// If the system does not know such a limit or refuses it.
pub fn hold_memory(bytes: u64) -> io::Result<()> {
    system::memory(bytes)
}

/// Lets this process write files of so many bytes, and have so many open.
///
/// # Errors
/// If the system does not know such a limit or refuses it.
pub fn hold_files(bytes: u64, open: u64) -> io::Result<()> {
    system::files(bytes, open)
}

/// Lets this process compute for so many seconds from now, all threads together; then the system ends it.
///
/// # Errors
/// If the system does not know such a limit or refuses it.
pub fn hold_processor(seconds: u64) -> io::Result<()> {
    system::processor(seconds)
}
