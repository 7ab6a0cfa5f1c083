#include "confine/volumes.hpp"

#include "confine/hidden.hpp"
#include "confine/mounts.hpp"
#include "confine/system.hpp"
#include "confine/system_paths.hpp"
#include "detail/unique_fd.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstring>
#include <deque>
#include <string_view>
#include <utility>

namespace hf::agent::confine {

namespace {

constexpr int place = O_PATH | O_NOFOLLOW | O_CLOEXEC;
// As many as the kernel follows.
constexpr int most_links = 40;

// From <linux/openat2.h>.
struct open_how {
  std::uint64_t flags;
  std::uint64_t mode;
  std::uint64_t resolve;
};
constexpr std::uint64_t resolve_no_magiclinks = 0x02;
constexpr std::uint64_t resolve_no_symlinks = 0x04;

std::deque<std::string> components(std::string_view path) {
  std::deque<std::string> parts;
  while (!path.empty()) {
    auto const slash = path.find('/');
    auto const part = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    if (!part.empty() && part != ".")
      parts.emplace_back(part);
  }
  return parts;
}

std::string joined(std::deque<std::string> const& parts) {
  std::string path;
  for (auto const& part : parts)
    path += "/" + part;
  return path.empty() ? "/" : path;
}

std::string link_target(int link) {
  char target[PATH_MAX];
  ssize_t const length = ::readlinkat(link, "", target, sizeof target);
  return length > 0 ? std::string(target, static_cast<std::size_t>(length)) : std::string();
}

std::string error_text() {
  return std::strerror(errno);
}

// No link, also not one that came after `resolve_source` had looked.
unique_fd open_source(std::string const& path, report const& status) {
  open_how const how{static_cast<std::uint64_t>(O_PATH | O_CLOEXEC), 0,
                     resolve_no_symlinks | resolve_no_magiclinks};
  unique_fd opened(
      static_cast<int>(::syscall(sys_openat2, AT_FDCWD, path.c_str(), &how, sizeof how)));
  if (!opened && errno == ENOSYS)
    status.deny("volumes need Linux 5.12");
  if (!opened)
    status.fail("volumes: " + path + ": " + error_text());
  return opened;
}

/// The way to a volume's target in the private root.
class target_walk {
 public:
  /// `closed`: directories, as paths inside, in which nothing is made and no link is followed.
  target_walk(std::string const& target, std::vector<std::string> const& closed,
              char const* root_path, report const& status)
      : target_(target),
        closed_(closed),
        status_(status),
        todo_(components(target)),
        root_(::open(root_path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)),
        here_(::openat(root_.get(), ".", O_PATH | O_DIRECTORY | O_CLOEXEC)) {
    if (!here_)
      status_.give_up("open the private root", errno);
  }

  /// Opens the target, of that kind.
  unique_fd open(bool directory) {
    while (!todo_.empty()) {
      std::string const name = std::move(todo_.front());
      todo_.pop_front();
      if (name == "..")
        refuse("a path with '..' is no place for a volume");
      step(name, !todo_.empty() || directory);
    }
    struct stat found {};
    if (::fstat(here_.get(), &found) != 0)
      refuse(error_text());
    if (S_ISDIR(found.st_mode) != directory)
      refuse(directory ? "there is a file where a directory is to be mounted"
                       : "there is a directory where a file is to be mounted");
    return std::move(here_);
  }
  /// Where it is inside, links of this root followed.
  [[nodiscard]] std::string where() const { return joined(done_); }

 private:
  [[noreturn]] void refuse(std::string const& why) const {
    status_.fail("volumes: cannot mount at " + target_ + ": " + why);
  }

  [[nodiscard]] bool is_closed() const {
    auto const path = where();
    return std::any_of(closed_.begin(), closed_.end(),
                       [&](auto const& directory) { return is_within(path, directory); });
  }

  void step(std::string const& name, bool directory) {
    bool const closed = is_closed();
    unique_fd next(::openat(here_.get(), name.c_str(), place));
    if (!next && errno == ENOENT) {
      if (closed)
        refuse("'" + name + "' does not exist in " + where() +
               ", where nothing is created; make it on the host first");
      next = make(name, directory);
    }
    struct stat found {};
    if (!next || ::fstat(next.get(), &found) != 0)
      refuse("'" + name + "' in " + where() + ": " + error_text());
    if (!S_ISLNK(found.st_mode)) {
      here_ = std::move(next);
      done_.push_back(name);
      return;
    }
    if (closed)
      refuse("'" + name + "' in " + where() + " is a symbolic link");
    follow(next.get());
  }

  unique_fd make(std::string const& name, bool directory) {
    if (directory) {
      if (::mkdirat(here_.get(), name.c_str(), 0755) != 0)
        refuse("make the directory '" + name + "' in " + where() + ": " + error_text());
    } else {
      unique_fd const made(::openat(here_.get(), name.c_str(),
                                    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
      if (!made)
        refuse("make the file '" + name + "' in " + where() + ": " + error_text());
    }
    return unique_fd(::openat(here_.get(), name.c_str(), place));
  }

  // A link of this root, such as /bin.
  void follow(int link) {
    auto const to = link_target(link);
    if (to.empty() || ++links_ > most_links)
      refuse("too many symbolic links");
    auto parts = components(to);
    if (to.front() == '/') {
      done_.clear();
    } else {
      // What leads up is taken from where the link lies.
      while (!parts.empty() && parts.front() == ".." && !done_.empty()) {
        parts.pop_front();
        done_.pop_back();
      }
      parts.insert(parts.begin(), done_.begin(), done_.end());
      done_.clear();
    }
    here_ = unique_fd(::openat(root_.get(), ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
    todo_.insert(todo_.begin(), parts.begin(), parts.end());
  }

  std::string target_;
  std::vector<std::string> const& closed_;
  report const& status_;
  std::deque<std::string> todo_;
  std::deque<std::string> done_;
  unique_fd root_;
  unique_fd here_;
  int links_ = 0;
};

void cover(hidden_in_volume const& what, char const* root, report const& status) {
  open_how const how{static_cast<std::uint64_t>(O_PATH | O_DIRECTORY | O_CLOEXEC), 0,
                     resolve_no_symlinks | resolve_no_magiclinks};
  std::string const path = root + what.target;
  unique_fd const at(
      static_cast<int>(::syscall(sys_openat2, AT_FDCWD, path.c_str(), &how, sizeof how)));
  if (!at) {
    if (errno == ENOENT)
      return;
    status.give_up("hide " + what.target, errno);
  }
  if (int const error = mount_new("tmpfs", "/proc/self/fd/" + std::to_string(at.get()),
                                  MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, "mode=555"))
    status.give_up("hide " + what.target, error);
}

}  // namespace

std::string resolve_source(std::string const& source, std::string& resolved) {
  auto todo = components(source);
  std::deque<std::string> done;
  unique_fd here(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (int links = 0; !todo.empty();) {
    std::string const name = std::move(todo.front());
    todo.pop_front();
    unique_fd next(::openat(here.get(), name.c_str(), place));
    struct stat found {};
    if (!next || ::fstat(next.get(), &found) != 0)
      return error_text();
    if (!S_ISLNK(found.st_mode)) {
      if (name != "..")
        done.push_back(name);
      else if (!done.empty())
        done.pop_back();
      here = std::move(next);
      continue;
    }
    done.push_back(name);
    auto const link = joined(done);
    done.pop_back();
    auto const to = link_target(next.get());
    if (found.st_uid != 0)
      return link + " is a symbolic link that is not root's; name the directory that is meant (" +
             to + ")";
    if (to.empty() || ++links > most_links)
      return "too many symbolic links";
    if (to.front() == '/') {
      done.clear();
      here = unique_fd(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    }
    auto const parts = components(to);
    todo.insert(todo.begin(), parts.begin(), parts.end());
  }
  resolved = joined(done);
  return {};
}

std::vector<volume> resolve_volumes(std::vector<volume> volumes, report const& status) {
  for (auto& v : volumes) {
    std::string resolved;
    if (auto const why = resolve_source(v.source, resolved); !why.empty())
      status.fail("volumes: " + v.source + " cannot be reached: " + why);
    v.source = std::move(resolved);
    struct stat found {};
    if (::lstat(v.source.c_str(), &found) != 0)
      status.fail("volumes: " + v.source + ": " + error_text());
    v.kind = found.st_mode & S_IFMT;
  }
  std::stable_sort(volumes.begin(), volumes.end(), [](volume const& a, volume const& b) {
    return components(a.target).size() < components(b.target).size();
  });
  return volumes;
}

std::vector<hidden_in_volume> hidden_in(volume const& v, std::vector<std::string> const& hidden) {
  std::vector<hidden_in_volume> found;
  for (auto const& path : hidden) {
    if (v.source == "/")
      found.push_back({path, v.target + path});
    else if (is_within(path, v.source))
      found.push_back({path, v.target + path.substr(v.source.size())});
  }
  return found;
}

void show_volumes(std::vector<volume> const& volumes, std::vector<std::string> const& hidden,
                  char const* root, report const& status) {
  std::vector<std::string> closed(std::begin(system_directories), std::end(system_directories));
  for (auto const& v : volumes) {
    for (auto const& path : hidden)
      if (is_within(v.source, path))
        status.fail("volumes: " + v.source + " belongs to sandboxes; it cannot be shown in one");
    unique_fd const source = open_source(v.source, status);
    struct stat found {};
    if (::fstat(source.get(), &found) != 0)
      status.fail("volumes: " + v.source + ": " + error_text());
    // What commands may do depends on the kind.
    if ((found.st_mode & S_IFMT) != v.kind)
      status.fail("volumes: " + v.source + " is being exchanged for something else");
    target_walk way(v.target, closed, root, status);
    unique_fd const target = way.open(S_ISDIR(found.st_mode));
    mount_tree(source.get(), target.get(), v.source,
               v.read_only ? access::read_only : access::read_write, status);
    closed.push_back(way.where());
    for (auto what : hidden_in({v.read_only, v.source, way.where()}, hidden))
      cover(what, root, status);
  }
}

bool unix_sockets_beside(std::vector<volume> const& volumes) {
  auto const is = [](unsigned kind) { return [kind](volume const& v) { return v.kind == kind; }; };
  return std::any_of(volumes.begin(), volumes.end(), is(S_IFSOCK)) ||
         std::none_of(volumes.begin(), volumes.end(), is(S_IFDIR));
}

}  // namespace hf::agent::confine
