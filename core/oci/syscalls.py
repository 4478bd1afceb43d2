"""System calls by what they are for: the material of the default seccomp profile.

Names of all architectures stand together; the OCI runtime skips those that its kernel or libseccomp lacks.
"""

from __future__ import annotations

FILES = """
access cachestat chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2
fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64
fdatasync fgetxattr file_getattr file_setattr flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs
fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64 getxattr getxattrat inotify_add_watch
inotify_init inotify_init1 inotify_rm_watch ioctl ioprio_get ioprio_set lchown lchown32 lgetxattr link linkat
listmount listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 mkdir mkdirat mknod
mknodat name_to_handle_at newfstatat open openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2
read readahead readlink readlinkat readv removexattr removexattrat rename renameat renameat2 rmdir sendfile sendfile64
setxattr setxattrat splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs
tee truncate truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write writev
"""
"""What is at a path or behind a descriptor; permissions are the kernel's business. File handles are made here, and
opened only with CAP_DAC_READ_SEARCH, since they reach past the root. fanotify_mark needs what fanotify_init opens."""

MEMORY = """
brk madvise membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 mprotect mremap mseal msync
munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_madvise process_mrelease remap_file_pages
"""
"""A process's own memory, and that of others it may trace."""

PROCESSES = """
adjtimex alarm capget capset clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
clock_gettime64 clock_nanosleep clock_nanosleep_time64 execve execveat exit exit_group fork futex futex_requeue
futex_time64 futex_wait futex_waitv futex_wake get_robust_list getcpu getegid getegid32 geteuid geteuid32 getgid
getgid32 getgroups getgroups32 getitimer getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32
getresuid getresuid32 getrlimit getrusage getsid gettid gettimeofday getuid getuid32 kill landlock_add_rule
landlock_create_ruleset landlock_restrict_self lsm_get_self_attr lsm_list_modules lsm_set_self_attr nanosleep pause
pidfd_open pidfd_send_signal prctl prlimit64 process_vm_readv process_vm_writev ptrace restart_syscall rseq
rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr
sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr
sched_setparam sched_setscheduler sched_yield seccomp set_robust_list set_tid_address setfsgid setfsgid32 setfsuid
setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid
setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setuid setuid32 sigaltstack sigprocmask
sigreturn sigsuspend sysinfo tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64
timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times
tkill ugetrlimit uname vfork wait4 waitid waitpid
"""
"""Running, waiting, identity, time, limits and self-confinement (landlock, seccomp). adjtimex only reads the clock's
discipline without CAP_SYS_TIME; ptrace cannot get around seccomp since Linux 4.8."""

WAITING = """
epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2
io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit _newselect poll ppoll
ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4
"""
"""Many descriptors at once."""

NETWORK = """
accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64 recvmsg
send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair
"""
"""`socket` itself is allowed by family, see seccomp.py. Not so socketcall, by which 32-bit x86 (Go's port to it still
does) reaches all of this: its arguments lie in memory, so through it every family is open."""

IPC = """
ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink
msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget
"""
"""System V and POSIX; they live in the pod's IPC namespace."""

ARCHITECTURE = """
arch_prctl arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush get_thread_area map_shadow_stack modify_ldt
riscv_flush_icache riscv_hwprobe s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr set_thread_area set_tls
swapcontext sync_file_range2 uprobe uretprobe
"""
"""What single architectures need, and the trampolines that the kernel itself puts into a traced process."""

ALWAYS = (FILES, MEMORY, PROCESSES, WAITING, NETWORK, IPC, ARCHITECTURE)

WITH_CAPABILITY = {
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_SYS_ADMIN": """
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount
        open_tree open_tree_attr perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount
        umount2 unshare
    """,
    "CAP_BPF": "bpf",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module finit_module init_module",
    "CAP_SYS_NICE": """
        get_mempolicy mbind migrate_pages move_pages set_mempolicy set_mempolicy_home_node
    """,
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd",
    "CAP_SYS_RAWIO": "ioperm iopl",
    "CAP_SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
    "CAP_SYS_TTY_CONFIG": "vhangup",
    "CAP_SYSLOG": "syslog",
}
"""What a capability makes useful, and without it only widens the kernel's attack surface."""

NEVER = """
add_key io_uring_enter io_uring_register io_uring_setup kexec_file_load kexec_load keyctl nfsservctl pivot_root
request_key swapoff swapon userfaultfd
"""
"""Refused whatever the capabilities: io_uring escapes every other rule here, keyrings are not namespaced."""
