#include "support/fake_hub/job_process.hpp"

#include "support/fake_hub/network_namespace.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

namespace hf::testing_support::fake {

namespace {

/// Gives the command a root of its own: system directories read-only, everything else empty.
/// Arguments: the new root, then for every mount its source, target and "ro" or "rw", then "--" and
/// the command.
constexpr char setup_script[] = R"SH(
SAVED_PATH=$PATH
PATH=/usr/sbin:/usr/bin:/sbin:/bin
root=$1
shift
mount -t tmpfs -o mode=0755 job-root "$root" || exit 125
cd "$root" || exit 125
for d in usr bin sbin lib lib32 lib64 libx32 etc opt; do
  if [ -L "/$d" ]; then ln -s "$(readlink "/$d")" "$d"
  elif [ -d "/$d" ]; then mkdir "$d" && mount -o bind,ro "/$d" "$d" || exit 125
  fi
done
mkdir -m 1777 tmp
mkdir -m 700 root
mkdir -p var home run proc sys dev/pts dev/shm
mkdir -m 1777 var/tmp
chmod 1777 dev/shm
for f in null zero full random urandom tty; do : >"dev/$f"; mount -o bind "/dev/$f" "dev/$f"; done
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mount -t proc proc proc || mount --rbind /proc proc || exit 125
mount -t sysfs -o ro sys sys 2>/dev/null || mount --rbind /sys sys 2>/dev/null
while [ "$1" != -- ]; do
  mkdir -p "./$2"
  mount -o "bind,$3" "$1" "./$2" || exit 125
  shift 3
done
shift
mkdir .old
pivot_root . .old || exit 125
cd /
umount -l /.old
rmdir /.old
PATH=$SAVED_PATH
unset SAVED_PATH root d f
exec "$@"
)SH";

void replace_all(std::string& text, std::string const& from, std::string const& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

/// The command without isolation: its fixed paths lead into the job's directory.
std::vector<std::string> rewritten(job_command const& what) {
  auto out = what.argv;
  ::mkdir((what.directory + "/tmp").c_str(), 0700);
  for (auto& word : out) {
    for (auto const& mount : what.mounts)
      replace_all(word, mount.to + "/", mount.from + "/");
    replace_all(word, " in /tmp /var/tmp", " in " + what.directory + "/tmp /var/tmp");
  }
  return out;
}

std::vector<std::string> isolated(job_command const& what) {
  std::string const root = what.directory + "/root";
  ::mkdir(root.c_str(), 0755);
  std::vector<std::string> out{"/usr/bin/setpriv",
                               "--pdeathsig",
                               "KILL",
                               "/usr/bin/unshare",
                               "--mount",
                               "--pid",
                               "--ipc",
                               "--uts",
                               "--fork",
                               "--kill-child=KILL",
                               "--propagation",
                               "private",
                               "/bin/sh",
                               "-c",
                               setup_script,
                               "sh",
                               root};
  for (auto const& mount : what.mounts) {
    out.push_back(mount.from);
    out.push_back(mount.to);
    out.push_back(mount.read_only ? "ro" : "rw");
  }
  out.push_back("--");
  out.insert(out.end(), what.argv.begin(), what.argv.end());
  return out;
}

pid_t spawn(std::vector<std::string> const& argv, std::vector<std::string> const& environment,
            int output) {
  std::vector<char*> arguments;
  for (auto const& word : argv)
    arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  std::vector<char*> variables;
  for (auto const& word : environment)
    variables.push_back(const_cast<char*>(word.c_str()));
  variables.push_back(nullptr);

  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, output, 1);
  posix_spawn_file_actions_adddup2(&files, output, 2);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(
      &attributes,
      static_cast<short>(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID));
  pid_t pid = -1;
  int const failed =
      ::posix_spawn(&pid, argv[0].c_str(), &files, &attributes, arguments.data(), variables.data());
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  return failed != 0 ? -1 : pid;
}

struct process {
  pid_t pid;
  pid_t parent;
  pid_t session;
};

std::vector<process> all_processes() {
  std::vector<process> out;
  DIR* const proc = ::opendir("/proc");
  if (proc == nullptr)
    return out;
  while (auto const* const entry = ::readdir(proc)) {
    auto const pid = static_cast<pid_t>(std::atoi(entry->d_name));
    if (pid <= 0)
      continue;
    std::ifstream file("/proc/" + std::string(entry->d_name) + "/stat");
    std::string text;
    std::getline(file, text);
    auto const close = text.rfind(')');
    if (close == std::string::npos)
      continue;
    std::istringstream rest(text.substr(close + 1));
    char state = 0;
    process p{pid, 0, 0};
    pid_t group = 0;
    rest >> state >> p.parent >> group >> p.session;
    if (state != 'Z')
      out.push_back(p);
  }
  ::closedir(proc);
  return out;
}

std::string namespace_of(pid_t pid) {
  char text[128] = {};
  auto const size =
      ::readlink(("/proc/" + std::to_string(pid) + "/ns/pid").c_str(), text, sizeof text - 1);
  return size <= 0 ? std::string() : std::string(text, static_cast<std::size_t>(size));
}

}  // namespace

std::optional<job_process> job_process::start(job_command const& what) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    return std::nullopt;
  std::vector<std::string> environment;
  for (auto const& [name, value] : what.environment)
    environment.push_back(name + "=" + value);
  job_process out;
  out.isolated_ = what.isolate;
  out.output_ = ends[0];
  out.outer_ = spawn(what.isolate ? isolated(what) : rewritten(what), environment, ends[1]);
  ::close(ends[1]);
  if (out.outer_ > 0)
    return out;
  ::close(ends[0]);
  return std::nullopt;
}

std::vector<pid_t> job_process::members() const {
  auto const processes = all_processes();
  std::set<pid_t> found;
  if (isolated_) {
    std::string inner;
    for (auto const& p : processes)
      if (p.parent == outer_)
        inner = namespace_of(p.pid);
    if (inner.empty() || inner == namespace_of(::getpid()))
      return {};
    for (auto const& p : processes)
      if (namespace_of(p.pid) == inner)
        found.insert(p.pid);
  } else {
    for (auto const& p : processes)
      if (p.pid == outer_ || p.session == outer_)
        found.insert(p.pid);
    for (bool more = true; more;) {
      more = false;
      for (auto const& p : processes)
        if (found.count(p.parent) != 0 && found.insert(p.pid).second)
          more = true;
    }
  }
  return {found.begin(), found.end()};
}

void job_process::kill() const {
  for (auto const pid : members())
    ::kill(pid, SIGKILL);
  ::kill(outer_, SIGKILL);
}

std::optional<int> job_process::ended() const {
  int status = 0;
  if (::waitpid(outer_, &status, WNOHANG) != outer_)
    return std::nullopt;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool can_isolate() {
  static bool const possible = [] {
    if (::geteuid() != 0 || ::access("/usr/bin/setpriv", X_OK) != 0 ||
        ::access("/usr/bin/unshare", X_OK) != 0)
      return false;
    bool works = false;
    std::thread([&] {
      char directory[] = "/tmp/fake-hub-probe-XXXXXX";
      if (::mkdtemp(directory) == nullptr || !enter_new_network_namespace())
        return;
      job_command probe;
      probe.argv = {"/bin/sh", "-c", "exit 42"};
      probe.environment = {{"PATH", "/usr/bin:/bin"}};
      probe.directory = directory;
      if (auto const running = job_process::start(probe)) {
        char bytes[256];
        while (::read(running->output(), bytes, sizeof bytes) > 0) {
        }
        ::close(running->output());
        for (;;) {
          if (auto const code = running->ended()) {
            works = *code == 42;
            break;
          }
          ::usleep(1000);
        }
      }
      ::rmdir((std::string(directory) + "/root").c_str());
      ::rmdir(directory);
    }).join();
    return works;
  }();
  return possible;
}

}  // namespace hf::testing_support::fake
