#ifndef HF_SANDBOX_AGENT_FILES_DIRECTORY_READER_HPP
#define HF_SANDBOX_AGENT_FILES_DIRECTORY_READER_HPP

#include <array>
#include <cstddef>
#include <string_view>

namespace hf::agent {

/// Reads the entries of an open directory without a DIR, from the descriptor's position.
class directory_reader {
 public:
  /// The descriptor stays the caller's.
  explicit directory_reader(int fd) : fd_(fd) {}

  struct entry {
    std::string_view name;
    /// A DT_* value of dirent.h.
    unsigned char type;
  };

  /// The next entry, without "." and ".."; valid until the next call. False: the end, or `error`.
  bool next(entry& found);
  /// Starts again at the front.
  void rewind();
  /// The errno that ended the reading; 0: none.
  [[nodiscard]] int error() const noexcept { return error_; }

 private:
  bool fill();

  int fd_;
  int error_ = 0;
  std::size_t used_ = 0;
  std::size_t filled_ = 0;
  alignas(8) std::array<char, 32 * 1024> buffer_;
};

}  // namespace hf::agent

#endif
