//! A process that gives up all but a folder, and then becomes another program.
//!
//! `evo confine` is started for each program that a model wrote for an interpreter of this machine. Landlock leaves it the system's
//! programs and libraries to read and one folder to write; seccomp takes the network, other processes and the kernel's odder doors;
//! limits of the system hold its memory, processor time and files. All of it holds for whatever the program starts. A kernel that
//! lacks Landlock or seccomp runs nothing: [`Confinement::apply`] is an error, and the program is never started.

use std::path::PathBuf;

use crate::workers::limits;

/// What a program may do.
#[derive(Clone, Debug)]
pub struct Confinement {
    /// The folder that it may write in, and works in.
    pub folder: PathBuf,
    /// What it may read beside the system's programs and libraries.
    pub readable: Vec<PathBuf>,
    /// Bytes of address space of each process.
    pub memory: u64,
    /// Seconds of processor time of each process.
    pub seconds: u64,
    /// Whether it may start processes; threads it always may.
    pub processes: bool,
}

/// Bytes of a file that it writes.
pub(super) const FILE: u64 = 16 << 20;
/// Files that it has open at one time.
const OPEN: u64 = 256;

/// What programs need of a system that they change nothing of.
const READABLE: [&str; 12] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/opt",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
];
/// Devices that hold nothing.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

impl Confinement {
    /// Holds this process to it, for good.
    ///
    /// # Errors
    /// In words, if the system lacks a part of it: then nothing untrusted may be run.
    pub fn apply(&self) -> Result<(), String> {
        std::env::set_current_dir(&self.folder).map_err(|e| format!("{}: {e}", self.folder.display()))?;
        let held = |what: &str, done: std::io::Result<()>| done.map_err(|e| format!("no limit of {what}: {e}"));
        held("memory", limits::hold_memory(self.memory))?;
        held("processor time", limits::hold_processor(self.seconds))?;
        held("files", limits::hold_files(FILE, OPEN))?;
        system::landlock(self)?;
        system::seccomp(self.processes)
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::collections::BTreeMap;

    use landlock::{
        ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr,
        RulesetError, RulesetStatus, Scope, path_beneath_rules,
    };
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
        apply_filter,
    };

    use super::{Confinement, DEVICES, READABLE};

    /// Kernels before this one (6.2) let a file be cut that may not be written.
    const NEEDED: ABI = ABI::V3;

    pub(super) fn landlock(to: &Confinement) -> Result<(), String> {
        let lacks = |error: RulesetError| format!("the kernel lacks Landlock as of Linux 6.2: {error}");
        let rules = || {
            let reading = AccessFs::from_read(NEEDED);
            let on_devices: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::WriteFile;
            let readable = to.readable.iter().map(std::path::PathBuf::as_path);
            Ruleset::default()
                .set_compatibility(CompatLevel::HardRequirement)
                .handle_access(AccessFs::from_all(NEEDED))?
                // Where newer kernels hold more, they do; seccomp has taken the network all the same.
                .set_compatibility(CompatLevel::BestEffort)
                .handle_access(AccessNet::from_all(ABI::V4))?
                .scope(Scope::from_all(ABI::V6))?
                .create()?
                .set_compatibility(CompatLevel::HardRequirement)
                .add_rules(path_beneath_rules(READABLE, reading))?
                .add_rules(path_beneath_rules(readable, reading))?
                .add_rules(path_beneath_rules(DEVICES, on_devices))?
                .add_rules(path_beneath_rules([&to.folder], AccessFs::from_all(NEEDED)))?
                .restrict_self()
        };
        let status = rules().map_err(lacks)?;
        if status.ruleset == RulesetStatus::NotEnforced || !status.no_new_privs {
            return Err("the kernel does not enforce Landlock".into());
        }
        Ok(())
    }

    /// What no program has a use for that only computes; some of it would reach other processes, or beyond this machine.
    const REFUSED: &[libc::c_long] = &[
        libc::SYS_socket,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_kill,
        libc::SYS_tkill,
        libc::SYS_rt_sigqueueinfo,
        libc::SYS_rt_tgsigqueueinfo,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_getfd,
        libc::SYS_pidfd_send_signal,
        libc::SYS_setrlimit,
        libc::SYS_setsid,
        libc::SYS_setpgid,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_userfaultfd,
        libc::SYS_open_by_handle_at,
        libc::SYS_fanotify_init,
        libc::SYS_quotactl,
        libc::SYS_acct,
        libc::SYS_swapon,
        libc::SYS_swapoff,
        libc::SYS_reboot,
        libc::SYS_kexec_load,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_settimeofday,
        libc::SYS_clock_settime,
        libc::SYS_adjtimex,
        libc::SYS_sethostname,
        libc::SYS_setdomainname,
        libc::SYS_shmget,
        libc::SYS_msgget,
        libc::SYS_semget,
        libc::SYS_mq_open,
    ];

    type Rules = BTreeMap<i64, Vec<SeccompRule>>;

    pub(super) fn seccomp(processes: bool) -> Result<(), String> {
        filters(processes).map_err(|error| format!("the kernel does not take a filter of system calls: {error}"))
    }

    fn filters(processes: bool) -> Result<(), Box<dyn std::error::Error>> {
        let mut refused: Rules = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
        // A process may abort itself, and no other. The program has this process's number.
        let unless = |argument, size, number| {
            SeccompRule::new(vec![SeccompCondition::new(argument, size, SeccompCmpOp::Ne, number)?])
        };
        let other = |number: u32| unless(0, SeccompCmpArgLen::Dword, u64::from(number));
        refused.insert(libc::SYS_tgkill, vec![other(std::process::id())?]);
        // It may ask for its own limits and change none: root could raise them again.
        refused.insert(libc::SYS_prlimit64, vec![other(0)?, unless(2, SeccompCmpArgLen::Qword, 0)?]);
        if !processes {
            let threads = libc::CLONE_THREAD as u64;
            let is_process = SeccompCmpOp::MaskedEq(threads);
            let is_process = SeccompCondition::new(0, SeccompCmpArgLen::Qword, is_process, 0)?;
            refused.insert(libc::SYS_clone, vec![SeccompRule::new(vec![is_process])?]);
            #[cfg(target_arch = "x86_64")]
            refused.extend([(libc::SYS_fork, Vec::new()), (libc::SYS_vfork, Vec::new())]);
            // Its flags are in memory, where a filter cannot see them; the C library then takes `clone`.
            install(Rules::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)?;
        }
        install(refused, libc::EPERM)
    }

    fn install(rules: Rules, error: i32) -> Result<(), Box<dyn std::error::Error>> {
        // The calls of the ABI x32 have the same numbers with one bit more.
        #[cfg(target_arch = "x86_64")]
        let rules: Rules =
            rules.into_iter().flat_map(|(call, rules)| [(call | 0x4000_0000, rules.clone()), (call, rules)]).collect();
        let action = SeccompAction::Errno(u32::try_from(error)?);
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, std::env::consts::ARCH.try_into()?)?;
        let program: BpfProgram = filter.try_into()?;
        Ok(apply_filter(&program)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) fn landlock(_: &super::Confinement) -> Result<(), String> {
        Err("only Linux can hold a program to a folder, by Landlock".into())
    }

    pub(super) fn seccomp(_: bool) -> Result<(), String> {
        Err("only Linux can take the network from a program, by seccomp".into())
    }
}
