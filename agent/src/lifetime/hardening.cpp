#include "lifetime/hardening.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

namespace hf::agent {
namespace {

// More than fs.nr_open's default is never granted, and some containers set "unlimited".
constexpr rlim_t most_descriptors = 1 << 20;

}  // namespace

void harden_process() {
  for (int fd = 0; fd <= 2; ++fd)
    if (::fcntl(fd, F_GETFD) < 0)
      static_cast<void>(::open("/dev/null", O_RDWR));
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  // Writes to a caller that has gone report EPIPE. Commands get the default back when they start.
  std::signal(SIGPIPE, SIG_IGN);
  // A write beyond a limit on file sizes reports EFBIG.
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit descriptors{};
  if (::getrlimit(RLIMIT_NOFILE, &descriptors) == 0) {
    rlim_t const wanted = (std::min)(descriptors.rlim_max, most_descriptors);
    if (descriptors.rlim_cur < wanted) {
      descriptors.rlim_cur = wanted;
      ::setrlimit(RLIMIT_NOFILE, &descriptors);
    }
  }
}

std::size_t connections_by_limit() {
  rlimit descriptors{};
  if (::getrlimit(RLIMIT_NOFILE, &descriptors) != 0)
    return 512;
  // A quarter and a bit is kept for commands' pipes and for files.
  std::size_t const limit = (std::min)(descriptors.rlim_cur, most_descriptors);
  std::size_t const reserve = limit / 4 + 32;
  return std::clamp<std::size_t>(limit > reserve ? limit - reserve : 1, 1, 65536);
}

}  // namespace hf::agent
