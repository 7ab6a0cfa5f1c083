#include "files/resolve.hpp"

#include "files/failure.hpp"
#include "files/filesystem.hpp"
#include "http/exchange.hpp"

#include <hf/sandbox/detail/utf8.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <vector>

namespace hf::agent {
namespace {

constexpr int directory_flags = O_PATH | O_DIRECTORY | O_CLOEXEC;

std::string absolute(std::string_view path) {
  if (path.starts_with('/'))
    return std::string(path);
  std::array<char, PATH_MAX> here{};
  std::string shown = ::getcwd(here.data(), here.size()) != nullptr ? here.data() : "";
  if (!shown.ends_with('/'))
    shown += '/';
  while (path.starts_with("./"))
    path.remove_prefix(2);
  return path == "." ? shown.substr(0, shown.size() - (shown.size() > 1 ? 1 : 0))
                     : shown + std::string(path);
}

/// The components of a path below a home: nothing leads out of it.
std::vector<std::string> components_below(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    auto const slash = path.find('/');
    auto const part = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    if (part.empty() || part == ".")
      continue;
    if (part == "..") {
      if (!parts.empty())
        parts.pop_back();
    } else {
      parts.emplace_back(part);
    }
  }
  return parts;
}

/// mkdir with exact permissions and owner, whatever the umask; errno on failure.
int make_one(file_root const& root, int directory, char const* name) {
  if (::mkdirat(directory, name, root.directory_mode) != 0)
    return errno;
  unique_fd const made(::openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!made)
    return errno;
  struct stat st {};
  if (::fstat(made.get(), &st) != 0)
    return errno;
  if (root.owner && ::fchown(made.get(), root.owner->user, root.owner->group) != 0)
    return errno;
  // A set-gid directory hands that bit down.
  if ((st.st_mode & 0777) != root.directory_mode &&
      ::fchmod(made.get(), (st.st_mode & 07000) | root.directory_mode) != 0)
    return errno;
  return 0;
}

/// Opens a directory below `start`, component by component, making what is missing.
unique_fd open_making(file_root const& root, int start, std::string_view path,
                      std::string_view verb, std::string_view shown) {
  unique_fd current(path.starts_with('/') ? ::open("/", directory_flags)
                                          : ::openat(start, ".", directory_flags));
  while (current && !path.empty()) {
    auto const slash = path.find('/');
    std::string const part(path.substr(0, slash));
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    if (part.empty())
      continue;
    int const flags = directory_flags | (root.confined() ? O_NOFOLLOW : 0);
    unique_fd next(::openat(current.get(), part.c_str(), flags));
    if (!next && errno == ENOENT) {
      int const failed = make_one(root, current.get(), part.c_str());
      if (failed != 0 && failed != EEXIST)
        throw_file_error(failed, verb, shown);
      next = unique_fd(::openat(current.get(), part.c_str(), flags));
    }
    current = std::move(next);
  }
  if (!current)
    throw_file_error(errno, verb, shown);
  return current;
}

/// Splits a path of the whole machine into its parent and last name and opens the parent.
void enter_parent(file_root const& root, location& at, int start, std::string_view path,
                  std::string_view verb, bool make_parents) {
  at.wants_directory = path.ends_with('/');
  while (path.size() > 1 && path.ends_with('/'))
    path.remove_suffix(1);
  auto const slash = path.rfind('/');
  std::string_view parent = ".";
  if (path == "/") {
    parent = "/";
    at.name = ".";
  } else if (slash == std::string_view::npos) {
    at.name = std::string(path);
  } else {
    parent = slash == 0 ? std::string_view("/") : path.substr(0, slash);
    at.name = std::string(path.substr(slash + 1));
  }
  unique_fd directory(::openat(start, std::string(parent).c_str(), directory_flags));
  if (!directory) {
    if (errno != ENOENT || !make_parents)
      throw_file_error(errno, verb, at.shown);
    directory = open_making(root, start, parent, verb, at.shown);
  }
  at.directory = std::move(directory);
}

location locate_below_home(file_root const& root, std::string_view path, std::string_view verb,
                           bool make_parents) {
  location at;
  auto const parts = components_below(path);
  at.shown = root.home_path;
  for (auto const& part : parts)
    at.shown += "/" + part;
  at.wants_directory = path.ends_with('/');
  at.name = parts.empty() ? "." : parts.back();
  std::string parent;
  for (std::size_t i = 0; i + 1 < parts.size(); ++i)
    parent += parts[i] + "/";
  if (make_parents) {
    at.directory = open_making(root, root.home.get(), parent, verb, at.shown);
    return at;
  }
  at.directory = unique_fd(::openat(root.home.get(), ".", directory_flags));
  for (std::size_t i = 0; at.directory && i + 1 < parts.size(); ++i)
    at.directory =
        unique_fd(::openat(at.directory.get(), parts[i].c_str(), directory_flags | O_NOFOLLOW));
  if (!at.directory)
    throw_file_error(errno, verb, at.shown);
  return at;
}

std::string read_link(location const& at, std::string_view verb) {
  std::array<char, PATH_MAX> target{};
  auto const size = ::readlinkat(at.directory.get(), at.name.c_str(), target.data(), target.size());
  if (size < 0)
    throw_file_error(errno, verb, at.shown);
  return {target.data(), static_cast<std::size_t>(size)};
}

/// What the kernel enforces as fs.protected_symlinks when it follows links itself: in a sticky,
/// world-writable directory only links of oneself or of the directory's owner are followed.
void refuse_planted_link(location const& at, struct stat const& link, std::string_view verb) {
  struct stat directory {};
  if (::fstat(at.directory.get(), &directory) != 0)
    throw_file_error(errno, verb, at.shown);
  bool const shared = (directory.st_mode & (S_ISVTX | S_IWOTH)) == (S_ISVTX | S_IWOTH);
  if (shared && link.st_uid != ::geteuid() && link.st_uid != directory.st_uid)
    throw_file_error(EACCES, verb, at.shown);
}

}  // namespace

location locate(file_root const& root, std::string_view path, std::string_view verb,
                bool make_parents) {
  if (path.find('\0') != std::string_view::npos)
    throw http_error{400, "invalid_argument", "the path has a NUL byte"};
  if (root.confined())
    return locate_below_home(root, path, verb, make_parents);
  location at;
  at.shown = absolute(path);
  enter_parent(root, at, AT_FDCWD, path, verb, make_parents);
  return at;
}

void follow_links(file_root const& root, location& at, std::string_view verb, bool make_parents) {
  for (int links = 0;; ++links) {
    struct stat st {};
    if (::fstatat(at.directory.get(), at.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT)
        return;
      throw_file_error(errno, verb, at.shown);
    }
    if (!S_ISLNK(st.st_mode))
      return;
    if (root.confined())
      throw http_error{400, "invalid_argument",
                       "cannot " + std::string(verb) + " " + hf::detail::utf8_lossy(at.shown) +
                           ": a path component is a symlink, which this API does not follow"};
    if (links == 40)
      throw_file_error(ELOOP, verb, at.shown);
    // Links below /proc can stand for pipes and deleted files: their text is not a path.
    if (is_kernel_filesystem(at.directory.get()))
      return;
    refuse_planted_link(at, st, verb);
    auto const target = read_link(at, verb);
    auto const parent = std::move(at.directory);
    enter_parent(root, at, parent.get(), target, verb, make_parents);
  }
}

std::string ensure_directory(file_root const& root, std::string_view path) {
  auto const at = locate(root, path, "mkdir", true);
  int const failed = at.is_entry() ? make_one(root, at.directory.get(), at.name.c_str()) : EEXIST;
  if (failed == EEXIST) {
    struct stat st {};
    if (::fstatat(at.directory.get(), at.name.c_str(), &st,
                  root.confined() ? AT_SYMLINK_NOFOLLOW : 0) != 0)
      throw_file_error(errno, "mkdir", at.shown);
    if (!S_ISDIR(st.st_mode))
      throw_file_error(EEXIST, "mkdir", at.shown);
  } else if (failed != 0) {
    throw_file_error(failed, "mkdir", at.shown);
  }
  return at.shown;
}

}  // namespace hf::agent
