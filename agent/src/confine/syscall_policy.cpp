#include "confine/syscall_policy.hpp"

#include "confine/seccomp_filter.hpp"
#include "confine/system.hpp"

#include <fcntl.h>
#include <linux/netlink.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>

namespace hf::agent::confine {

namespace {

constexpr std::uint32_t clone_newtime = 0x00000080;
// The harmless values of personality(2).
constexpr std::uint32_t default_personality = PER_LINUX;
constexpr std::uint32_t linux32_personality = PER_LINUX32;
constexpr std::uint32_t no_randomisation = ADDR_NO_RANDOMIZE;
constexpr std::uint32_t old_release = UNAME26;
constexpr std::uint32_t query_personality = 0xffffffff;
constexpr std::uint32_t clone_namespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS |
                                           CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |
                                           CLONE_NEWNET;

void deny_administration(seccomp_filter& filter) {
  filter.deny({SYS_mount,          SYS_umount2,
               SYS_pivot_root,     SYS_chroot,
               sys_open_tree,      sys_move_mount,
               sys_fsopen,         sys_fsconfig,
               sys_fsmount,        sys_fspick,
               sys_mount_setattr,  sys_open_tree_attr,
               SYS_setns,          SYS_open_by_handle_at,
               SYS_quotactl,       sys_quotactl_fd,
               SYS_swapon,         SYS_swapoff,
               SYS_acct,           SYS_reboot,
               SYS_kexec_load,     SYS_kexec_file_load,
               SYS_init_module,    SYS_finit_module,
               SYS_delete_module,  SYS_settimeofday,
               SYS_clock_settime,  SYS_adjtimex,
               SYS_clock_adjtime,  SYS_syslog,
               SYS_vhangup,        SYS_nfsservctl,
               SYS_lookup_dcookie, SYS_sethostname,
               SYS_setdomainname},
              EPERM);
#if defined(__x86_64__)
  filter.deny({SYS_iopl, SYS_ioperm, SYS_uselib, SYS__sysctl, SYS_create_module,
               SYS_get_kernel_syms, SYS_query_module, SYS_sysfs, SYS_ustat, SYS_modify_ldt},
              EPERM);
#endif
}

/// One end of a pair of datagram sockets can send to any address. For unix sockets the kernel takes
/// SOCK_RAW for SOCK_DGRAM.
void deny_datagram_pairs(seccomp_filter& filter) {
  for (std::uint32_t const type : {SOCK_DGRAM, SOCK_RAW})
    filter.deny_masked(SYS_socketpair, 1, 0xf, type, EAFNOSUPPORT);
}

/// A set-uid or set-gid file that commands make in a volume would give their rights, or those of
/// the volume's group, to whoever runs it outside.
void deny_set_id_bits(seccomp_filter& filter) {
  constexpr std::uint32_t set_id = S_ISUID | S_ISGID;
  constexpr std::uint32_t creating = O_CREAT | (O_TMPFILE & ~O_DIRECTORY);
  filter.deny_bits(SYS_fchmod, 1, set_id, EPERM);
  filter.deny_bits(SYS_fchmodat, 2, set_id, EPERM);
  filter.deny_bits(sys_fchmodat2, 2, set_id, EPERM);
  filter.deny_bits(SYS_mknodat, 2, set_id, EPERM);
  // The mode means nothing, and can be anything, where no file is created.
  filter.deny_bits_where(SYS_openat, 2, creating, 3, set_id, EPERM);
  // Its mode lies in memory, where a filter cannot look; callers have a way without it.
  filter.deny({sys_openat2}, ENOSYS);
#if defined(__x86_64__)
  filter.deny_bits(SYS_chmod, 1, set_id, EPERM);
  filter.deny_bits(SYS_mknod, 1, set_id, EPERM);
  filter.deny_bits(SYS_creat, 1, set_id, EPERM);
  filter.deny_bits_where(SYS_open, 1, creating, 2, set_id, EPERM);
#endif
}

}  // namespace

std::vector<sock_filter> common_policy(bool unix_sockets) {
  seccomp_filter filter;
  deny_administration(filter);
  filter.deny({SYS_keyctl, SYS_add_key, SYS_request_key, SYS_bpf, SYS_perf_event_open,
               SYS_userfaultfd, SYS_fanotify_init, SYS_kcmp},
              EPERM);
  // Where the answer is "no such call", callers have a way without it.
  filter.deny({SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register, sys_clone3}, ENOSYS);
  filter.deny_bits(SYS_clone, 0, clone_namespaces, EPERM);
  filter.deny_bits(SYS_unshare, 0, clone_namespaces | clone_newtime, EPERM);
  filter.allow_only(SYS_personality, 0,
                    {default_personality, linux32_personality, no_randomisation, old_release,
                     linux32_personality | old_release, query_personality},
                    EPERM);
  filter.deny_values(SYS_ioctl, 1, {TIOCSTI, 0x541C /* TIOCLINUX */}, EPERM);
  if (unix_sockets)
    filter.allow_only(SYS_socket, 0, {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK}, EAFNOSUPPORT);
  else
    filter.allow_only(SYS_socket, 0, {AF_INET, AF_INET6, AF_NETLINK}, EAFNOSUPPORT);
  // Other protocols tell of the processes, devices and connections of the whole machine.
  filter.allow_only_where(SYS_socket, 0, AF_NETLINK, 2, NETLINK_ROUTE, EPROTONOSUPPORT);
  deny_set_id_bits(filter);
  filter.allow_only(SYS_socketpair, 0, {AF_UNIX}, EAFNOSUPPORT);
  if (!unix_sockets)
    deny_datagram_pairs(filter);
  // A limit on CPU time or memory kills, and needs only the same user, not a right to signal.
  filter.deny_changing_others(SYS_prlimit64, 0, 2, EPERM);
  return filter.finish();
}

std::vector<sock_filter> landlock_only_policy() {
  seccomp_filter filter;
  filter.deny({SYS_fchmod, SYS_fchmodat, sys_fchmodat2, SYS_fchown, SYS_fchownat, SYS_setxattr,
               SYS_lsetxattr, SYS_fsetxattr, sys_setxattrat, SYS_removexattr, SYS_lremovexattr,
               SYS_fremovexattr, sys_removexattrat, sys_file_setattr, SYS_utimensat},
              EPERM);
#if defined(__x86_64__)
  filter.deny({SYS_chmod, SYS_chown, SYS_lchown, SYS_utime, SYS_utimes, SYS_futimesat}, EPERM);
#endif
  // FS_IOC_SETFLAGS and FS_IOC_FSSETXATTR change attributes through a descriptor.
  filter.deny_values(SYS_ioctl, 1, {0x40086602, 0x401c5820}, EPERM);
  filter.allow_only(SYS_socket, 0, {AF_INET, AF_INET6, AF_NETLINK}, EAFNOSUPPORT);
  deny_datagram_pairs(filter);
  filter.deny({SYS_shmget, SYS_shmat, SYS_shmctl, SYS_msgget, SYS_msgsnd, SYS_msgrcv, SYS_msgctl,
               SYS_semget, SYS_semop, SYS_semtimedop, SYS_semctl, SYS_mq_open, SYS_mq_unlink},
              ENOSYS);
  return filter.finish();
}

}  // namespace hf::agent::confine
