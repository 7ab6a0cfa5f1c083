#include "host/homes.hpp"

#include "files/directory_reader.hpp"
#include "files/remove.hpp"
#include "files/resolve.hpp"
#include "http/exchange.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace hf::agent {
namespace {

constexpr int own_directory = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

[[noreturn]] void fail(std::string const& what) {
  throw std::system_error(errno, std::system_category(), what);
}

bool is_sandbox_id(std::string_view name) {
  return name.size() == 16 && name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

unique_fd make_directory(int parent, char const* name, mode_t mode, uid_t owner) {
  if (::mkdirat(parent, name, 0700) != 0)
    fail(std::string("make the directory ") + name);
  unique_fd made(::openat(parent, name, own_directory));
  if (!made || ::fchown(made.get(), owner, owner) != 0 || ::fchmod(made.get(), mode) != 0)
    fail(std::string("prepare the directory ") + name);
  return made;
}

}  // namespace

home_directory::home_directory(std::string path) {
  all_.home_path = std::move(path);
  file_root machine;
  machine.directory_mode = 0711;
  try {
    ensure_directory(machine, all_.home_path);
  } catch (http_error const& failed) {
    throw std::runtime_error(failed.message);
  }
  all_.home = unique_fd(::open(all_.home_path.c_str(), own_directory));
  struct stat found {};
  if (!all_.home || ::fstat(all_.home.get(), &found) != 0)
    fail("open " + all_.home_path);
  if (found.st_uid != ::geteuid() || (found.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    throw std::runtime_error(all_.home_path + " can be written by others than this user");
  std::vector<std::string> left;
  directory_reader entries(all_.home.get());
  for (directory_reader::entry entry{}; entries.next(entry);)
    if (is_sandbox_id(entry.name))
      left.emplace_back(entry.name);
  for (auto const& id : left)
    if (auto const why = remove(id); !why.empty())
      throw std::runtime_error("remove what an earlier agent left: " + why);
}

unique_fd home_directory::make(std::string const& id, uid_t uid) const {
  unique_fd const home = make_directory(all_.home.get(), id.c_str(), 0700, uid);
  make_directory(home.get(), ".tmp", 0700, uid);
  unique_fd const own = make_directory(home.get(), ".sbx", 0755, uid);
  make_directory(own.get(), "proxy", 0755, uid);
  unique_fd place(::openat(home.get(), ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!place)
    fail("open the home");
  return place;
}

std::string home_directory::remove(std::string const& id) const {
  try {
    remove_file(all_, id, true);
  } catch (http_error const& failed) {
    if (failed.status != 404)
      return failed.message;
  }
  return {};
}

}  // namespace hf::agent
