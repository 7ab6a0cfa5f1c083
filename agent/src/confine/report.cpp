#include "confine/report.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace hf::agent::confine {

namespace {

constexpr int setup_failed = 70;  // EX_SOFTWARE

/// What a kernel, an LSM or a container's filter answers to say "not here".
bool means_forbidden(int error) {
  return error == EPERM || error == EACCES || error == ENOSYS || error == EUSERS ||
         error == EINVAL || error == EOPNOTSUPP;
}

}  // namespace

void write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t const n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

void report::line(std::string_view text) const {
  write_all(fd_, std::string(text) + "\n");
}

void report::deny(std::string_view why) const {
  line("denied " + std::string(why));
  ::_exit(setup_failed);
}

void report::fail(std::string_view why) const {
  line("failed " + std::string(why));
  ::_exit(setup_failed);
}

void report::give_up(std::string_view step, int error) const {
  std::string const why = std::string(step) + ": " + std::strerror(error);
  if (means_forbidden(error))
    deny(why);
  fail(why);
}

}  // namespace hf::agent::confine
