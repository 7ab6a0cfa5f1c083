#include "confine/landlock.hpp"

#include "confine/system.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace hf::agent::confine {

namespace {

// From <linux/landlock.h>; older headers lack the newer rights.
constexpr std::uint64_t fs_execute = 1ULL << 0;
constexpr std::uint64_t fs_write_file = 1ULL << 1;
constexpr std::uint64_t fs_read_file = 1ULL << 2;
constexpr std::uint64_t fs_read_dir = 1ULL << 3;
constexpr std::uint64_t fs_remove_dir = 1ULL << 4;
constexpr std::uint64_t fs_remove_file = 1ULL << 5;
constexpr std::uint64_t fs_make_dir = 1ULL << 7;
constexpr std::uint64_t fs_make_reg = 1ULL << 8;
constexpr std::uint64_t fs_make_sock = 1ULL << 9;
constexpr std::uint64_t fs_make_fifo = 1ULL << 10;
constexpr std::uint64_t fs_make_sym = 1ULL << 12;
constexpr std::uint64_t fs_refer = 1ULL << 13;
constexpr std::uint64_t fs_truncate = 1ULL << 14;
constexpr std::uint64_t fs_ioctl_dev = 1ULL << 15;
constexpr std::uint64_t scope_abstract_unix_socket = 1ULL << 0;
constexpr std::uint64_t scope_signal = 1ULL << 1;
constexpr unsigned create_ruleset_version = 1U;
constexpr int rule_path_beneath = 1;

constexpr std::uint64_t file_rights =
    fs_execute | fs_write_file | fs_read_file | fs_truncate | fs_ioctl_dev;
constexpr std::uint64_t reading = fs_execute | fs_read_file | fs_read_dir;
constexpr std::uint64_t writing = reading | fs_write_file | fs_truncate | fs_remove_dir |
                                  fs_remove_file | fs_make_dir | fs_make_reg | fs_make_sock |
                                  fs_make_fifo | fs_make_sym | fs_refer;
constexpr std::uint64_t device = fs_read_file | fs_read_dir | fs_write_file | fs_ioctl_dev;

struct ruleset_attributes {
  std::uint64_t handled_access_fs;
  std::uint64_t handled_access_net;
  std::uint64_t scoped;
};

struct [[gnu::packed]] path_rule {
  std::uint64_t allowed_access;
  std::int32_t parent_fd;
};

std::uint64_t rights_of(int version) {
  std::uint64_t rights = (1ULL << 13) - 1;
  if (version >= 2)
    rights |= fs_refer;
  if (version >= 3)
    rights |= fs_truncate;
  if (version >= 5)
    rights |= fs_ioctl_dev;
  return rights;
}

}  // namespace

int landlock_version() {
  long const version = ::syscall(sys_landlock_create_ruleset, nullptr, 0, create_ruleset_version);
  return version > 0 ? static_cast<int>(version) : 0;
}

ruleset::ruleset(report const& status) : status_(status), version_(landlock_version()) {
  if (version_ == 0)
    return;
  handled_ = rights_of(version_);
  ruleset_attributes attributes{};
  attributes.handled_access_fs = handled_;
  std::size_t size = sizeof attributes.handled_access_fs;
  if (version_ >= landlock_with_scopes) {
    attributes.scoped = scope_abstract_unix_socket | scope_signal;
    size = sizeof attributes;
  }
  fd_ = static_cast<int>(::syscall(sys_landlock_create_ruleset, &attributes, size, 0));
  if (fd_ < 0)
    status_.give_up("create a Landlock ruleset", errno);
}

ruleset::~ruleset() {
  if (fd_ >= 0)
    ::close(fd_);
}

void ruleset::allow(std::string const& path, std::uint64_t rights) {
  if (fd_ < 0)
    return;
  int const fd = ::open(path.c_str(), O_PATH | O_CLOEXEC);
  if (fd < 0)
    return;
  struct stat found {};
  if (::fstat(fd, &found) != 0)
    status_.give_up("stat " + path, errno);
  path_rule rule{rights & handled_, fd};
  if (!S_ISDIR(found.st_mode))
    rule.allowed_access &= file_rights;
  if (::syscall(sys_landlock_add_rule, fd_, rule_path_beneath, &rule, 0) != 0)
    status_.give_up("allow " + path, errno);
  ::close(fd);
}

void ruleset::allow_reading(std::string const& path) {
  allow(path, reading);
}
void ruleset::allow_writing(std::string const& path) {
  allow(path, writing);
}
void ruleset::allow_device(std::string const& path) {
  allow(path, device);
}

void ruleset::enforce() {
  if (fd_ < 0)
    return;
  if (::syscall(sys_landlock_restrict_self, fd_, 0) != 0)
    status_.give_up("enforce the Landlock ruleset", errno);
}

}  // namespace hf::agent::confine
