#include "confine/log_file.hpp"

#include "confine/report.hpp"

#include <fcntl.h>
#include <unistd.h>

namespace hf::agent::confine {

log_file::log_file(std::string const& path)
    : fd_(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600)) {}

log_file::~log_file() {
  if (fd_ >= 0)
    ::close(fd_);
}

void log_file::append(std::string_view bytes) {
  memory_.append(bytes);
  if (memory_.size() > 2 * kept_) {
    memory_.erase(0, memory_.size() - kept_);
    if (::ftruncate(fd_, 0) != 0 || ::lseek(fd_, 0, SEEK_SET) != 0)
      return;
    bytes = memory_;
  }
  write_all(fd_, bytes);
}

std::string log_file::tail(std::size_t limit) const {
  return memory_.size() <= limit ? memory_ : memory_.substr(memory_.size() - limit);
}

}  // namespace hf::agent::confine
