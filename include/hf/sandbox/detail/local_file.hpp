#ifndef HF_SANDBOX_DETAIL_LOCAL_FILE_HPP
#define HF_SANDBOX_DETAIL_LOCAL_FILE_HPP

#include <hf/sandbox/detail/local_error.hpp>
#include <hf/sandbox/error.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace hf::detail {

/// A file of this machine, read or written at given positions, by several threads at once.
template <class = void>
class basic_local_file {
 public:
  /// Opens a regular file for reading.
  [[nodiscard]] static basic_local_file open(std::filesystem::path const& path) {
    std::error_code why;
    auto const status = std::filesystem::status(path, why);
    if (why || status.type() == std::filesystem::file_type::not_found)
      throw local_file_error(
          "open", path, why ? why : std::make_error_code(std::errc::no_such_file_or_directory));
    if (status.type() == std::filesystem::file_type::directory)
      throw local_file_error("open", path, std::make_error_code(std::errc::is_a_directory));
    if (status.type() != std::filesystem::file_type::regular)
      throw error(errc::not_regular,
                  "open '" + shown_path(path) + "' on this machine: not a regular file");
    return basic_local_file(path, false);
  }

  /// Creates a file that must not exist yet, readable by its owner only; a link is not followed.
  [[nodiscard]] static basic_local_file create(std::filesystem::path const& path) {
    return basic_local_file(path, true);
  }

#if defined(__unix__) || defined(__APPLE__)
  basic_local_file(basic_local_file&& other) noexcept
      : path_(std::move(other.path_)),
        fd_(std::exchange(other.fd_, -1)),
        final_mode_(other.final_mode_) {}
  basic_local_file& operator=(basic_local_file&&) = delete;
  ~basic_local_file() {
    if (fd_ >= 0)
      ::close(fd_);
  }

  /// Bytes in the file now.
  [[nodiscard]] std::uint64_t size() const {
    struct stat st {};
    if (::fstat(fd_, &st) != 0)
      fail("read");
    return static_cast<std::uint64_t>(st.st_size);
  }

  /// Fills the buffer from `offset` on; returns fewer bytes only at the file's end.
  std::size_t read_at(std::uint64_t offset, std::span<std::byte> buffer) {
    std::size_t done = 0;
    while (done < buffer.size()) {
      auto const n = ::pread(fd_, buffer.data() + done, buffer.size() - done,
                             static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        fail("read");
      if (n == 0)
        break;
      done += static_cast<std::size_t>(n);
    }
    return done;
  }

  /// Writes all bytes from `offset` on.
  void write_at(std::uint64_t offset, std::span<std::byte const> data) {
    while (!data.empty()) {
      auto const n = ::pwrite(fd_, data.data(), data.size(), static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        fail("write");
      offset += static_cast<std::uint64_t>(n);
      data = data.subspan(static_cast<std::size_t>(n));
    }
  }

  /// Gives a created file the permissions of any new file, and closes it; write errors that the
  /// system held back are reported here.
  void finish() {
    if (::fchmod(fd_, final_mode_) != 0)
      fail("change the mode of");
    if (::close(std::exchange(fd_, -1)) != 0 && errno != EINTR)
      fail("write");
  }

 private:
  basic_local_file(std::filesystem::path path, bool create) : path_(std::move(path)) {
    int const flags =
        create ? O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC : O_RDONLY | O_CLOEXEC;
    fd_ = ::open(path_.c_str(), flags, 0666);
    if (fd_ < 0)
      fail(create ? "create" : "open");
    if (!create)
      return;
    // The system has applied the umask, which cannot be asked for without changing it.
    struct stat st {};
    if (::fstat(fd_, &st) == 0 && ::fchmod(fd_, 0600) == 0) {
      final_mode_ = st.st_mode & 0777;
      return;
    }
    int const failed = errno;
    ::close(std::exchange(fd_, -1));
    ::unlink(path_.c_str());
    errno = failed;
    fail("create");
  }

  [[noreturn]] void fail(char const* doing) const {
    throw local_file_error(doing, path_, std::error_code(errno, std::generic_category()));
  }

  std::filesystem::path path_;
  int fd_ = -1;
  mode_t final_mode_ = 0;
#else
  basic_local_file(basic_local_file&&) noexcept = default;
  basic_local_file& operator=(basic_local_file&&) = delete;
  ~basic_local_file() = default;

  [[nodiscard]] std::uint64_t size() const {
    std::error_code why;
    auto const bytes = std::filesystem::file_size(path_, why);
    if (why)
      throw local_file_error("read", path_, why);
    return bytes;
  }

  std::size_t read_at(std::uint64_t offset, std::span<std::byte> buffer) {
    std::lock_guard const lock(shared_->mutex);
    shared_->stream.clear();
    shared_->stream.seekg(static_cast<std::streamoff>(offset));
    shared_->stream.read(reinterpret_cast<char*>(buffer.data()),
                         static_cast<std::streamsize>(buffer.size()));
    if (shared_->stream.bad())
      throw local_file_error("read", path_, {});
    return static_cast<std::size_t>(shared_->stream.gcount());
  }

  void write_at(std::uint64_t offset, std::span<std::byte const> data) {
    std::lock_guard const lock(shared_->mutex);
    shared_->stream.seekp(static_cast<std::streamoff>(offset));
    shared_->stream.write(reinterpret_cast<char const*>(data.data()),
                          static_cast<std::streamsize>(data.size()));
    if (!shared_->stream)
      throw local_file_error("write", path_, {});
  }

  void finish() {
    shared_->stream.close();
    if (!shared_->stream)
      throw local_file_error("write", path_, {});
  }

 private:
  struct stream_and_lock {
    std::fstream stream;
    std::mutex mutex;
  };

  basic_local_file(std::filesystem::path path, bool create)
      : path_(std::move(path)), shared_(std::make_unique<stream_and_lock>()) {
    auto const mode = std::ios::binary | std::ios::in;
    if (create && std::filesystem::exists(path_))
      throw local_file_error("create", path_, std::make_error_code(std::errc::file_exists));
    shared_->stream.open(path_, create ? mode | std::ios::out | std::ios::trunc : mode);
    if (!shared_->stream.is_open())
      throw local_file_error(create ? "create" : "open", path_,
                             std::error_code(errno, std::generic_category()));
  }

  std::filesystem::path path_;
  std::unique_ptr<stream_and_lock> shared_;
#endif
};
using local_file = basic_local_file<>;

/// A file that appears under its name only when it is complete: until `commit` it has a hidden name
/// beside it, and without `commit` it is removed.
template <class = void>
class basic_partial_file {
 public:
  /// `random` makes the hidden name unique.
  basic_partial_file(std::filesystem::path target, std::string const& random)
      : target_(std::move(target)),
        hidden_(target_.parent_path() / hidden_name(target_, random)),
        file_(local_file::create(hidden_)) {}
  basic_partial_file(basic_partial_file const&) = delete;
  basic_partial_file& operator=(basic_partial_file const&) = delete;
  ~basic_partial_file() {
    if (committed_)
      return;
    std::error_code ignored;
    std::filesystem::remove(hidden_, ignored);
  }

  [[nodiscard]] local_file& file() noexcept { return file_; }

  /// Puts the file in place of whatever has the name.
  void commit() {
    file_.finish();
    std::error_code why;
    std::filesystem::rename(hidden_, target_, why);
    if (why)
      throw local_file_error("rename to", target_, why);
    committed_ = true;
  }

 private:
  static std::filesystem::path hidden_name(std::filesystem::path const& target,
                                           std::string const& random) {
    std::filesystem::path name(".");
    name += target.filename();
    name += "." + random + ".part";
    return name;
  }

  std::filesystem::path target_;
  std::filesystem::path hidden_;
  local_file file_;
  bool committed_ = false;
};
using partial_file = basic_partial_file<>;

}  // namespace hf::detail

#endif
