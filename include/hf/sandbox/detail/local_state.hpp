#ifndef HF_SANDBOX_DETAIL_LOCAL_STATE_HPP
#define HF_SANDBOX_DETAIL_LOCAL_STATE_HPP

#include <hf/sandbox/detail/unique_fd.hpp>
#include <hf/sandbox/error.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace hf::detail {

/// An error of a file operation on this machine, with the system's reason.
template <class = void>
[[nodiscard]] error local_error(std::string const& what, int number) {
  errc const code = number == EACCES || number == EPERM    ? errc::permission_denied
                    : number == ENOSPC || number == EDQUOT ? errc::no_space
                    : number == EMFILE || number == ENFILE || number == EAGAIN || number == ENOMEM
                        ? errc::resource_exhausted
                        : errc::io_error;
  error_details details;
  details.system_error = number;
  return error(code, what + ": " + std::generic_category().message(number), details);
}

/// Opens a directory of this user's that nobody else may enter; makes it first when `create`.
///
/// `errc::permission_denied` when something else lies there, for instance another user's directory
/// in the shared /tmp.
template <class = void>
[[nodiscard]] unique_fd open_private_directory(std::string const& path, bool create) {
  unique_fd directory;
  for (int attempt = 0;; ++attempt) {
    if (create && ::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
      throw local_error("cannot make the directory " + path, errno);
    directory.reset(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (directory)
      break;
    if (!create && errno == ENOENT)
      return directory;
    // Another program may have taken it away in between, with the last sandbox in it.
    if (errno != ENOENT || attempt == 100)
      throw local_error("cannot open the directory " + path, errno);
  }
  struct stat found {};
  if (::fstat(directory.get(), &found) != 0)
    throw local_error("cannot inspect " + path, errno);
  if (found.st_uid != ::geteuid() || (found.st_mode & 077) != 0)
    throw error(errc::permission_denied,
                path +
                    " belongs to another user or is open to others; it must be this user's "
                    "with mode 0700, or state_directory another one");
  return directory;
}

/// `$XDG_RUNTIME_DIR`, when that is a directory of this user, else empty: programs that run as root
/// may have got the variable of the user who called them.
template <class = void>
[[nodiscard]] std::string own_runtime_directory() {
  struct stat found {};
  if (char const* const runtime = std::getenv("XDG_RUNTIME_DIR");
      runtime != nullptr && *runtime == '/' && ::stat(runtime, &found) == 0 &&
      S_ISDIR(found.st_mode) && found.st_uid == ::geteuid())
    return runtime;
  return {};
}

/// Where the sandboxes of this user have their state: the user's own runtime directory, else
/// `/tmp`, with `/hf-sandbox-<uid>`.
template <class = void>
[[nodiscard]] std::string default_state_directory() {
  auto const runtime = own_runtime_directory();
  return (runtime.empty() ? "/tmp" : runtime) + "/hf-sandbox-" + std::to_string(::geteuid());
}

/// Whether a text has the form of a local sandbox's id: 24 hexadecimal digits.
template <class = void>
[[nodiscard]] bool is_local_id(std::string_view id) noexcept {
  return id.size() == 24 && id.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// The content of a small file in a directory; nothing when it cannot be read.
template <class = void>
[[nodiscard]] std::optional<std::string> read_file_at(int directory, char const* name) {
  unique_fd const file(::openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  if (!file)
    return std::nullopt;
  std::string content;
  char buffer[4096];
  for (;;) {
    auto const n = ::read(file.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return std::nullopt;
    if (n == 0)
      return content;
    content.append(buffer, static_cast<std::size_t>(n));
  }
}

/// Puts a file with mode 0600 into a directory, whole or not at all.
template <class = void>
void write_file_at(int directory, std::string const& name, std::string_view content) {
  std::string const part = name + ".part";
  unique_fd const file(::openat(directory, part.c_str(),
                                O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file)
    throw local_error("cannot make " + name, errno);
  while (!content.empty()) {
    auto const n = ::write(file.get(), content.data(), content.size());
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      throw local_error("cannot write " + name, errno);
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::renameat(directory, part.c_str(), directory, name.c_str()) != 0)
    throw local_error("cannot make " + name, errno);
}

/// Takes the lock that says that a sandbox lives; false when somebody has it. It is held by the
/// sandbox's keeper, from before its start to its end, and ends with it however it ends.
template <class = void>
[[nodiscard]] bool try_lock_directory(int directory) noexcept {
  return ::flock(directory, LOCK_EX | LOCK_NB) == 0;
}

/// Takes it for a sandbox that is being made; waits for those who only look whether somebody has
/// it.
template <class = void>
void lock_directory(int directory, std::string const& path) {
  while (::flock(directory, LOCK_EX) != 0)
    if (errno != EINTR)
      throw local_error("cannot lock " + path, errno);
}

/// Before the id, in the name of the directory of a sandbox that has ended: nobody finds it under
/// its id any more. It goes when everything that its record names is gone.
inline constexpr std::string_view ended_prefix = ".ended-";

/// The ids that have a directory with this prefix below this one.
inline std::vector<std::string> local_ids(int directory, std::string_view prefix = {}) {
  std::vector<std::string> ids;
  int const copy = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* const stream = copy < 0 ? nullptr : ::fdopendir(copy);
  if (stream == nullptr) {
    if (copy >= 0)
      ::close(copy);
    return ids;
  }
  while (dirent const* const entry = ::readdir(stream)) {
    std::string_view name = entry->d_name;
    if (!name.starts_with(prefix))
      continue;
    name.remove_prefix(prefix.size());
    if (is_local_id(name))
      ids.emplace_back(name);
  }
  ::closedir(stream);
  return ids;
}

}  // namespace hf::detail

#endif
