#ifndef HF_SANDBOX_DOCKER_SOCKET_DIRECTORY_HPP
#define HF_SANDBOX_DOCKER_SOCKET_DIRECTORY_HPP

#include <hf/sandbox/detail/local_state.hpp>
#include <hf/sandbox/detail/unique_fd.hpp>
#include <hf/sandbox/error.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

namespace hf::detail::docker {

/// Whether something listens at a socket that is held open by name only. Does not block, also when
/// code inside listens there and takes no connection.
template <class = void>
[[nodiscard]] bool is_listening(unique_fd const& socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", socket.get());
  unique_fd const probe(::socket(AF_UNIX, SOCK_STREAM, 0));
  if (!probe)
    return false;
  ::fcntl(probe.get(), F_SETFD, FD_CLOEXEC);
  ::fcntl(probe.get(), F_SETFL, O_NONBLOCK);
  return ::connect(probe.get(), reinterpret_cast<sockaddr const*>(&address), sizeof address) == 0 ||
         errno == EAGAIN;
}

/// Whether sockets in shared directories can be had on this platform at all: it takes descriptors
/// that only name a file, and /proc.
#if defined(__linux__)
inline constexpr bool socket_directories = true;
#else
inline constexpr bool socket_directories = false;
#endif

/// The directory that holds the socket directories of this user:
/// `$XDG_RUNTIME_DIR/hf-sandbox-docker`, when that is this user's, else
/// `/tmp/hf-sandbox-docker-<uid>`.
template <class = void>
[[nodiscard]] std::filesystem::path socket_directory_base() {
  if (auto const runtime = own_runtime_directory(); !runtime.empty())
    return std::filesystem::path(runtime) / "hf-sandbox-docker";
  return "/tmp/hf-sandbox-docker-" + std::to_string(::geteuid());
}

/// A directory of the caller alone (0700) with one sub-directory that everybody may write to
/// (01777, so that nobody else in the container can put another socket in the agent's place) and
/// that a container mounts: whoever the agent runs as can put its socket there, and nobody else of
/// this machine can get at it.
template <class = void>
class basic_socket_directory {
 public:
  basic_socket_directory() = default;

  /// Makes `base` and `base/name`. `errc::io_error` when that cannot be, and when `base` is not the
  /// caller's own directory.
  [[nodiscard]] static basic_socket_directory make(std::filesystem::path const& base,
                                                   std::string const& name) {
    if (::mkdir(base.c_str(), 0700) != 0 && errno != EEXIST)
      fail("make", base);
    struct stat info {};
    if (::lstat(base.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != ::geteuid() ||
        (info.st_mode & 077) != 0)
      throw error(errc::io_error, base.string() + " must be a directory of this user alone (0700)");
    basic_socket_directory out;
    out.path_ = base / name;
    if (::mkdir(out.path_.c_str(), 0700) != 0)
      fail("make", out.path_);
    auto const shared = out.mount_source();
    // Not subject to the umask.
    if (::mkdir(shared.c_str(), 0700) != 0 || ::chmod(shared.c_str(), 01777) != 0) {
      int const why = errno;
      out.remove();
      errno = why;
      fail("make", shared);
    }
    out.launching_ = unique_fd(::open(out.path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (out.launching_)
      ::flock(out.launching_.get(), LOCK_EX | LOCK_NB);
    out.hold();
    return out;
  }

  /// The directory of a container that mounts `source`, which another process may have made.
  [[nodiscard]] static basic_socket_directory of_mount(std::filesystem::path const& source) {
    basic_socket_directory out;
    out.path_ = source.parent_path();
    out.hold();
    return out;
  }

  explicit operator bool() const noexcept { return !path_.empty(); }
  /// Whether the shared sub-directory could be opened; else `errno` says why.
  [[nodiscard]] bool is_open() const noexcept { return static_cast<bool>(directory_); }
  /// The directory of the caller.
  [[nodiscard]] std::filesystem::path const& path() const noexcept { return path_; }
  /// What the container mounts.
  [[nodiscard]] std::string mount_source() const { return (path_ / "run").string(); }

  /// The launch is over: the directory may be swept once its container is gone.
  void launched() { launching_ = {}; }

  /// Opens the agent's socket without following a link that code inside may have put there; an
  /// empty descriptor while there is none. `errc::io_error` for anything but a socket.
  [[nodiscard]] unique_fd open_socket() const {
#if defined(__linux__)
    if (!directory_)
      return {};
    unique_fd socket(::openat(directory_.get(), "agent.sock", O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!socket)
      return {};
    struct stat info {};
    if (::fstat(socket.get(), &info) != 0 || !S_ISSOCK(info.st_mode))
      throw error(errc::io_error,
                  mount_source() + "/agent.sock is no socket: code in the container replaced it",
                  {.where = hop::docker});
    return socket;
#else
    return {};
#endif
  }

  /// Puts a file into the shared sub-directory that every user in the container can read. Nothing
  /// that lies there under this name is written through.
  void put(char const* name, std::string_view content) const {
    auto const path = std::filesystem::path(mount_source()) / name;
    ::unlink(path.c_str());
    unique_fd const file(
        ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444));
    // Not subject to the umask.
    if (!file || ::fchmod(file.get(), 0444) != 0)
      fail("make", path);
    while (!content.empty()) {
      auto const n = ::write(file.get(), content.data(), content.size());
      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        fail("write", path);
      content.remove_prefix(static_cast<std::size_t>(n));
    }
  }

  /// Removes it and what is in it. What code in the container has put there as another user can
  /// outlive this; it lies in a directory that only the caller can enter.
  void remove() noexcept {
    if (path_.empty())
      return;
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
    directory_ = {};
    launching_ = {};
    path_.clear();
  }

  /// Whether another process is launching with it right now.
  [[nodiscard]] static bool in_use(std::filesystem::path const& path) {
    unique_fd const fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    return fd && ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0;
  }

 private:
  void hold() {
#if defined(__linux__)
    directory_ =
        unique_fd(::open(mount_source().c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
#endif
  }

  [[noreturn]] static void fail(char const* what, std::filesystem::path const& path) {
    int const why = errno;
    throw error(why == ENOSPC ? errc::no_space : errc::io_error,
                std::string("cannot ") + what + " " + path.string() + ": " + std::strerror(why),
                {.system_error = why});
  }

  std::filesystem::path path_;
  unique_fd directory_;
  unique_fd launching_;
};
using socket_directory = basic_socket_directory<>;

}  // namespace hf::detail::docker

#endif
