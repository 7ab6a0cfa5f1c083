#ifndef HF_SANDBOX_TESTS_SUPPORT_ATTACKS_HPP
#define HF_SANDBOX_TESTS_SUPPORT_ATTACKS_HPP

#include <string>
#include <vector>

namespace hf::testing_support {

/// Something that code in a sandbox tries; the script prints REACHED when it worked.
struct attack {
  std::string what;
  /// Finds in its environment VICTIM (the home), PID, ABSTRACT, STATE (the sandbox's own state
  /// directory on the host).
  std::string script;
  /// Works without any isolation, also for an ordinary user: proves that the script is right.
  bool works_unconfined = true;
  /// Landlock alone does not stop it: a documented residual of that isolation.
  bool needs_private_root = false;
};

/// A script that prints REACHED when the Perl expression is true; `sc(number on x86_64, number on
/// aarch64, arguments...)` makes a system call.
inline std::string perl(std::string const& expression) {
  return "perl -e 'use Socket; use Errno; my $arm = `uname -m` =~ /aarch64/; "
         "sub sc { my ($x, $a, @r) = @_; return syscall($arm ? $a : $x, @r); } "
         "sub reached { my $r = sc(@_); return $r != -1 || !($!{EPERM} || $!{ENOSYS} || "
         "$!{EAFNOSUPPORT}); } "
         "print \"REACHED\\n\" if (" +
         expression + ");' 2>/dev/null";
}

inline std::vector<attack> attacks() {
  std::string const done = " && echo REACHED";
  return {
      {"read a file of the home", "cat $VICTIM/.ssh/id_rsa | grep -q TOP-SECRET" + done},
      {"list the home", "ls -A $VICTIM | grep -q ssh" + done},
      {"write into the home", "echo x > $VICTIM/new" + done},
      {"append to a key", "echo x >> $VICTIM/.ssh/id_rsa" + done},
      {"remove a key", "rm $VICTIM/.ssh/id_rsa 2>/dev/null </dev/null" + done, false},
      {"follow a link to a key", "ln -sf $VICTIM/.ssh/id_rsa link; grep -q TOP-SECRET link" + done},
      {"make a hard link to a key", "ln $VICTIM/.ssh/id_rsa hard" + done, false},
      {"read another process's environment",
       "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -q ^CANARY=" + done},
      {"connect to a socket by its path",
       perl("socket(S, AF_UNIX, SOCK_STREAM, 0) && "
            "connect(S, pack_sockaddr_un(\"$ENV{VICTIM}/docker.sock\"))")},
      {"connect to an abstract socket",
       perl("socket(S, AF_UNIX, SOCK_STREAM, 0) && "
            "connect(S, pack(\"S a*\", AF_UNIX, \"\\0$ENV{ABSTRACT}\"))")},
      {"send to a socket from one end of a pair of datagram sockets",
       perl("socketpair(A, B, AF_UNIX, SOCK_DGRAM, 0) && "
            "!defined(send(A, \"x\", 0, pack_sockaddr_un(\"$ENV{VICTIM}/docker.sock\"))) && "
            "$!{EPROTOTYPE}")},
      {"send to a socket from one end of a pair of raw sockets",
       perl("socketpair(A, B, AF_UNIX, SOCK_RAW, 0) && "
            "!defined(send(A, \"x\", 0, pack_sockaddr_un(\"$ENV{VICTIM}/docker.sock\"))) && "
            "$!{EPROTOTYPE}")},
      {"limit another process's CPU time",
       perl("sc(302, 261, int($ENV{PID}), 0, pack(\"QQ\", 1000000, 1000000), 0) == 0")},
      {"limit the agent's CPU time",
       "for p in /proc/[0-9]*; do case $(cat $p/comm 2>/dev/null) in hf-sandbox*) "
       "AGENT=${p#/proc/} " +
           perl("sc(302, 261, int($ENV{AGENT}), 0, pack(\"QQ\", 1000000, 1000000), 0) == 0") +
           ";; esac; done"},
      {"see the descriptions of kernel keys", "grep -q . /proc/keys 2>/dev/null" + done, false,
       true},
      {"signal a process", "kill -0 $PID 2>/dev/null" + done},
      {"kill a process", "kill -KILL $PID 2>/dev/null" + done, false},
      {"stop a process through a pidfd",
       perl("($fd = sc(434, 434, int($ENV{PID}), 0)) >= 0 && sc(424, 424, $fd, 0, 0, 0) == 0")},
      {"see a process", "tr '\\0' ' ' < /proc/$PID/cmdline | grep -q '^sleep 1000'" + done, true,
       true},
      {"go to another process's root", "ls /proc/$PID/root/ >/dev/null 2>&1" + done},
      {"go to another process's directory", "ls /proc/$PID/cwd/ >/dev/null 2>&1" + done},
      {"read another process's memory", perl("open(F, \"<\", \"/proc/$ENV{PID}/mem\")"), false},
      {"trace another process", perl("sc(101, 117, 0x4206, int($ENV{PID}), 0, 0) == 0"), false},
      {"change the mode of a key", "chmod 0777 $VICTIM/.ssh/id_rsa 2>/dev/null" + done},
      {"change the mode of a key by fchmodat2",
       perl("sc(452, 452, -100, \"$ENV{VICTIM}/.ssh/id_rsa\", 0777, 0) == 0"), false},
      {"change the mode through an open file",
       perl("open(F, \"<\", \"$ENV{VICTIM}/.ssh/id_rsa\") && chmod(0777, *F)")},
      {"change the times of a key", perl("utime(1, 1, \"$ENV{VICTIM}/.ssh/id_rsa\") == 1")},
      {"change the owner of a key", perl("chown($>, $>, \"$ENV{VICTIM}/.ssh/id_rsa\") == 1"),
       false},
      {"give a key an extended attribute",
       perl("sc(188, 5, \"$ENV{VICTIM}/.ssh/id_rsa\", \"user.x\", \"y\", 1, 0) == 0"), false},
      {"gain rights from a set-uid program", "grep -q 'NoNewPrivs:.0' /proc/self/status" + done,
       false},
      {"keep a capability",
       "grep -E '^Cap(Inh|Prm|Eff|Amb):' /proc/self/status | grep -qv 0000000000000000" + done,
       false},
      {"run without a system call filter", "grep -q 'Seccomp:.0' /proc/self/status" + done, false},
      {"mount", perl("reached(165, 40, \"none\", \"/tmp\", \"tmpfs\", 0, 0)"), false},
      {"mount by the new calls", perl("reached(430, 430, \"tmpfs\", 0)"), false},
      {"make a user namespace", perl("sc(272, 97, 0x10000000) == 0")},
      {"make a mount namespace", perl("sc(272, 97, 0x00020000) == 0"), false},
      {"enter another process's namespaces",
       perl("open(F, \"<\", \"/proc/$ENV{PID}/ns/mnt\") && sc(308, 268, fileno(F), 0) == 0"),
       false},
      {"enter the agent's namespaces",
       perl("open(F, \"<\", \"/proc/1/ns/mnt\") && sc(308, 268, fileno(F), 0) == 0"), false},
      {"open a file by its handle", perl("reached(304, 265, -1, 0, 0)"), false},
      {"use kernel keys", perl("reached(250, 219, 0, -3, 0)"), false},
      {"use bpf", perl("reached(321, 280, 0, 0, 0)"), false},
      {"use perf events", perl("reached(298, 241, 0, 0, -1, -1, 0)"), false},
      {"use userfaultfd", perl("reached(323, 282, 0)"), false},
      {"use io_uring", perl("reached(425, 425, 1, 0)"), false},
      {"load a kernel module", perl("reached(175, 105, 0, 0, 0)"), false},
      {"open a packet socket", perl("socket(S, 17, SOCK_RAW, 0)"), false},
      {"open a vsock socket", perl("socket(S, 40, SOCK_STREAM, 0)"), false},
      {"change a kernel setting", perl("open(F, \">>\", \"/proc/sys/kernel/hostname\")"), false},
      {"press a system request key", perl("open(F, \">>\", \"/proc/sysrq-trigger\")"), false},
      {"see a block device", "find /dev -type b 2>/dev/null | grep -q ." + done, false},
      {"make a block device", "mknod device b 8 0 2>/dev/null" + done, false},
      {"write to a system directory",
       "for d in /usr /usr/bin /etc /opt /; do echo x 2>/dev/null > $d/hf-sandbox-attack" + done +
           "; done",
       false},
      {"read the password hashes", "grep -q : /etc/shadow 2>/dev/null" + done, false},
      {"read the agent's token", "[ -n \"$(cat $STATE/token 2>/dev/null)\" ]" + done},
      {"connect to the agent's socket",
       perl("socket(S, AF_UNIX, SOCK_STREAM, 0) && "
            "connect(S, pack_sockaddr_un(\"$ENV{STATE}/agent.sock\"))")},
      {"open the agent's memory",
       "for p in /proc/[0-9]*; do case $(cat $p/comm 2>/dev/null) in hf-sandbox*) "
       "(: < $p/mem) 2>/dev/null" +
           done + "; (: < $p/environ) 2>/dev/null" + done + ";; esac; done",
       false},
  };
}

}  // namespace hf::testing_support

#endif
