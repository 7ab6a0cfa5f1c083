#ifndef HF_SANDBOX_TESTS_SUPPORT_HUNG_FILE_SYSTEM_HPP
#define HF_SANDBOX_TESTS_SUPPORT_HUNG_FILE_SYSTEM_HPP

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace hf::testing_support {

/// What a FUSE file system answers.
enum class answers {
  /// Nothing at all: every access hangs, and can be killed.
  nothing,
  /// Every name is there as an executable file; opening it hangs and cannot even be killed.
  names,
  /// Files can be opened, but neither read nor closed.
  opens,
};

/// A FUSE file system that leaves whoever uses it waiting. When the object is destroyed, all of
/// them get an error.
class hung_file_system {
 public:
  /// Needs root and /dev/fuse.
  static bool possible() { return ::geteuid() == 0 && ::access("/dev/fuse", R_OK | W_OK) == 0; }

  hung_file_system(std::string directory, answers how) : directory_(std::move(directory)) {
    ::mkdir(directory_.c_str(), 0755);
    fd_ = ::open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    std::string const options =
        "fd=" + std::to_string(fd_) + ",rootmode=40000,user_id=0,group_id=0,allow_other";
    if (fd_ < 0 ||
        ::mount("hung", directory_.c_str(), "fuse", MS_NOSUID | MS_NODEV, options.c_str()) != 0)
      throw std::runtime_error(std::string("cannot mount FUSE: ") + std::strerror(errno));
    if (how != answers::nothing)
      server_ = std::thread([this, how] { serve(how); });
  }
  hung_file_system(hung_file_system const&) = delete;
  hung_file_system& operator=(hung_file_system const&) = delete;
  ~hung_file_system() {
    stop_ = true;
    if (server_.joinable())
      server_.join();
    ::umount2(directory_.c_str(), MNT_DETACH);
    ::close(fd_);
  }

  [[nodiscard]] std::string const& path() const { return directory_; }
  /// Requests to open a file that are waiting.
  [[nodiscard]] int opens() const { return opens_; }

 private:
  void answer(std::uint64_t unique, void const* body, std::size_t size) {
    fuse_out_header head{};
    head.len = static_cast<std::uint32_t>(sizeof head + size);
    head.unique = unique;
    iovec parts[2] = {{&head, sizeof head}, {const_cast<void*>(body), size}};
    static_cast<void>(::writev(fd_, parts, 2));
  }

  static fuse_attr attributes(std::uint64_t node) {
    fuse_attr attr{};
    attr.ino = node;
    attr.mode = node == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0755;
    attr.nlink = 1;
    attr.size = 4096;
    attr.blksize = 4096;
    return attr;
  }

  void serve(answers how) {
    std::vector<char> buffer(1 << 20);
    while (!stop_) {
      pollfd more{fd_, POLLIN, 0};
      if (::poll(&more, 1, 20) != 1)
        continue;
      ssize_t const n = ::read(fd_, buffer.data(), buffer.size());
      if (n < static_cast<ssize_t>(sizeof(fuse_in_header)))
        continue;
      fuse_in_header request{};
      std::memcpy(&request, buffer.data(), sizeof request);
      if (request.opcode == FUSE_INIT) {
        fuse_init_out out{};
        out.major = FUSE_KERNEL_VERSION;
        out.minor = 31;
        out.max_write = 4096;
        out.max_readahead = 4096;
        answer(request.unique, &out, sizeof out);
      } else if (request.opcode == FUSE_LOOKUP) {
        fuse_entry_out out{};
        out.nodeid = 2;
        out.attr = attributes(2);
        out.entry_valid = out.attr_valid = 3600;
        answer(request.unique, &out, sizeof out);
      } else if (request.opcode == FUSE_GETATTR) {
        fuse_attr_out out{};
        out.attr = attributes(request.nodeid);
        out.attr_valid = 3600;
        answer(request.unique, &out, sizeof out);
      } else if (request.opcode == FUSE_OPEN) {
        ++opens_;
        fuse_open_out const out{};
        if (how == answers::opens)
          answer(request.unique, &out, sizeof out);
      }
    }
  }

  std::string directory_;
  int fd_ = -1;
  std::atomic<bool> stop_{false};
  std::atomic<int> opens_{0};
  std::thread server_;
};

}  // namespace hf::testing_support

#endif
