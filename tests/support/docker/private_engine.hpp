#ifndef HF_SANDBOX_TESTS_SUPPORT_DOCKER_PRIVATE_ENGINE_HPP
#define HF_SANDBOX_TESTS_SUPPORT_DOCKER_PRIVATE_ENGINE_HPP

#include "support/docker/engine.hpp"

#include <hf/sandbox/detail/read_text_file.hpp>
#include <hf/sandbox/docker/tar.hpp>

#include <fcntl.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace hf::testing_support {

/// A Docker engine of the test's own, with a bridge of its own, in a directory that goes with it.
/// Needs root and dockerd; where there is none the test is skipped.
class private_engine {
 public:
  /// `arguments` are added to dockerd's; `disk_bytes` puts its data on a file system of that size.
  explicit private_engine(std::vector<std::string> arguments = {}, std::size_t disk_bytes = 0)
      : arguments_(std::move(arguments)) {
    if (!why_no_engine().empty())
      SKIP(why_no_engine());
    if (::geteuid() != 0 || ::access("/usr/sbin/dockerd", X_OK) != 0)
      SKIP("an engine of the test's own needs root and /usr/sbin/dockerd");
    char name[] = "/tmp/hf-sandbox-engine-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path_ = name;
    std::filesystem::create_directory(data());
    if (disk_bytes != 0) {
      auto const size = "size=" + std::to_string(disk_bytes);
      if (::mount("tmpfs", data().c_str(), "tmpfs", 0, size.c_str()) != 0) {
        std::filesystem::remove_all(path_);
        SKIP("a file system of the test's own cannot be mounted");
      }
      mounted_ = true;
    }
    if (!make_bridge()) {
      end();
      SKIP("a network bridge of the test's own cannot be made here");
    }
    start();
    if (!eventually([&] { return answers(); })) {
      auto const log = last_log_line();
      end();
      SKIP("an engine of the test's own does not start here: " + log);
    }
  }
  private_engine(private_engine const&) = delete;
  private_engine& operator=(private_engine const&) = delete;
  ~private_engine() { end(); }

  [[nodiscard]] std::filesystem::path data() const { return path_ / "data"; }
  [[nodiscard]] docker_options settings() const {
    auto options = docker_settings();
    options.host = "unix://" + (path_ / "docker.sock").string();
    return options;
  }

  /// Ends it as its service manager would, containers and all; `signal` SIGKILL: without warning.
  void stop(int signal = SIGTERM) {
    if (pid_ <= 0)
      return;
    ::kill(pid_, signal);
    bool const gone = eventually([&] { return ::waitpid(pid_, nullptr, WNOHANG) == pid_; });
    if (!gone) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    pid_ = -1;
  }

  void start() {
    std::vector<std::string> command{"dockerd",
                                     "--host=unix://" + (path_ / "docker.sock").string(),
                                     "--data-root=" + data().string(),
                                     "--exec-root=" + (path_ / "exec").string(),
                                     "--pidfile=" + (path_ / "pid").string(),
                                     "--bridge=" + bridge_,
                                     "--iptables=false",
                                     "--ip6tables=false",
                                     "--ip-forward=false",
                                     "--ip-masq=false"};
    command.insert(command.end(), arguments_.begin(), arguments_.end());
    std::vector<char*> argv;
    for (auto& argument : command)
      argv.push_back(argument.data());
    argv.push_back(nullptr);
    auto const log = (path_ / "log").string();
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      int const fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
      ::dup2(fd, 1);
      ::dup2(fd, 2);
      ::setsid();
      ::execv("/usr/sbin/dockerd", argv.data());
      ::_exit(127);
    }
  }

  /// Whether it answers now.
  [[nodiscard]] bool answers() const {
    try {
      engine_probe probe(settings());
      return probe.call("GET", "/containers/json").first == 200;
    } catch (error const&) {
      return false;
    }
  }

  /// Gives it an image with a static busybox (the agent needs no more, tests do).
  void make_image(std::string const& name) const {
    std::string const program =
        std::filesystem::exists("/bin/busybox") ? "/bin/busybox" : "/usr/bin/busybox";
    auto const content = detail::read_text_file(program);
    REQUIRE(content);
    detail::docker::tar_writer files;
    files.directory("bin", 0755);
    files.file("bin/busybox", 0755, *content);
    engine_probe probe(settings());
    auto const made = probe.call(
        "POST", "/images/create" + http::encode_query({{"fromSrc", "-"}, {"repo", name}}),
        std::move(files).finish(), "application/x-tar");
    REQUIRE(made.first == 200);
  }

 private:
  // Not "none": an engine without a bridge removes that of the machine's own engine.
  bool make_bridge() {
    bridge_ = "hfsbx" + std::to_string(::getpid() % 1'000'000);
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd_ >= 0 && ::ioctl(fd_, SIOCBRADDBR, bridge_.c_str()) == 0;
  }

  void remove_bridge() {
    if (fd_ < 0)
      return;
    ifreq request{};
    bridge_.copy(request.ifr_name, IFNAMSIZ - 1);
    ::ioctl(fd_, SIOCSIFFLAGS, &request);
    ::ioctl(fd_, SIOCBRDELBR, bridge_.c_str());
    ::close(fd_);
  }

  std::string last_log_line() const {
    std::ifstream log(path_ / "log");
    std::string last;
    for (std::string line; std::getline(log, line);)
      if (line.find("level=info") == std::string::npos)
        last = line;
    return last;
  }

  void end() {
    stop();
    // A killed engine leaves its containerd; its pid is in a file of ours.
    for (char const* const name : {"exec/containerd/containerd.pid"}) {
      std::ifstream file(path_ / name);
      if (pid_t other = 0; file >> other && other > 1)
        ::kill(other, SIGKILL);
    }
    remove_bridge();
    if (mounted_)
      ::umount2(data().c_str(), MNT_DETACH);
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  std::vector<std::string> arguments_;
  std::filesystem::path path_;
  std::string bridge_;
  int fd_ = -1;
  pid_t pid_ = -1;
  bool mounted_ = false;
};

}  // namespace hf::testing_support

#endif
