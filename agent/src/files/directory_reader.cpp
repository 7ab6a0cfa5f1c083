#include "files/directory_reader.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

namespace hf::agent {
namespace {

// struct linux_dirent64, which no header has.
constexpr std::size_t length_offset = 16;
constexpr std::size_t type_offset = 18;
constexpr std::size_t name_offset = 19;

}  // namespace

bool directory_reader::fill() {
  long const got = ::syscall(SYS_getdents64, fd_, buffer_.data(), buffer_.size());
  if (got < 0)
    error_ = errno;
  used_ = 0;
  filled_ = got > 0 ? static_cast<std::size_t>(got) : 0;
  return filled_ > 0;
}

bool directory_reader::next(entry& found) {
  for (;;) {
    if (used_ == filled_ && !fill())
      return false;
    char const* const record = buffer_.data() + used_;
    std::uint16_t length = 0;
    std::memcpy(&length, record + length_offset, sizeof length);
    used_ += length;
    found.name = record + name_offset;
    found.type = static_cast<unsigned char>(record[type_offset]);
    if (found.name != "." && found.name != "..")
      return true;
  }
}

void directory_reader::rewind() {
  if (::lseek(fd_, 0, SEEK_SET) < 0)
    error_ = errno;
  used_ = filled_ = 0;
}

}  // namespace hf::agent
