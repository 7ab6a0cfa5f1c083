#include "confine/unused_uid.hpp"

#include "confine/system.hpp"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace hf::agent::confine {

namespace {

struct range {
  std::uint32_t first;
  std::uint32_t count;
};

// Above what container managers (up to 1879048191) hand out; then, where a user namespace knows
// 16-bit ids only, above ordinary accounts and below systemd's dynamic users (61184).
constexpr range ranges[] = {{1'900'000'000, 100'000'000}, {40'000, 20'000}};

std::uint32_t random_number() {
  std::uint32_t value = 0;
  if (::syscall(SYS_getrandom, &value, sizeof value, 0) != static_cast<long>(sizeof value))
    value = static_cast<std::uint32_t>(::getpid()) * 2654435761U;
  return value;
}

bool can_be_expressed(std::uint32_t uid) {
  std::string const map = read_file("/proc/self/uid_map");
  if (map.empty())
    return true;
  char const* at = map.c_str();
  unsigned long inside = 0;
  unsigned long outside = 0;
  unsigned long length = 0;
  int used = 0;
  while (std::sscanf(at, "%lu %lu %lu%n", &inside, &outside, &length, &used) == 3) {
    if (uid >= inside && uid - inside < length)
      return true;
    at += used;
  }
  return false;
}

bool has_account(std::uint32_t uid) {
  std::string const needle = ":" + std::to_string(uid) + ":";
  return read_file("/etc/passwd").find(needle) != std::string::npos ||
         read_file("/etc/group").find(needle) != std::string::npos;
}

bool has_process(std::uint32_t uid) {
  DIR* const processes = ::opendir("/proc");
  if (processes == nullptr)
    return false;
  bool found = false;
  while (dirent const* const entry = ::readdir(processes)) {
    if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
      continue;
    struct stat owner {};
    if (::fstatat(::dirfd(processes), entry->d_name, &owner, 0) == 0 && owner.st_uid == uid)
      found = true;
  }
  ::closedir(processes);
  return found;
}

}  // namespace

uid_t unused_uid() {
  for (auto const& candidates : ranges)
    for (int attempt = 0; attempt < 64; ++attempt) {
      std::uint32_t const uid = candidates.first + random_number() % candidates.count;
      if (!can_be_expressed(uid))
        break;
      if (!has_account(uid) && !has_process(uid))
        return uid;
    }
  return 0;
}

bool is_only_user() {
  unsigned long inside = 0;
  unsigned long outside = 0;
  unsigned long length = 0;
  int used = 0;
  std::string const map = read_file("/proc/self/uid_map");
  return std::sscanf(map.c_str(), "%lu %lu %lu %n", &inside, &outside, &length, &used) == 3 &&
         length == 1 && map[static_cast<std::size_t>(used)] == '\0';
}

}  // namespace hf::agent::confine
