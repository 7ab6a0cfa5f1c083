#ifndef HF_SANDBOX_AGENT_EXEC_SPILL_FILE_HPP
#define HF_SANDBOX_AGENT_EXEC_SPILL_FILE_HPP

#include "detail/unique_fd.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace hf::agent {

/// A file without a name, for output that has no room in memory. Its functions may block; they may
/// be called from any thread.
class spill_file {
 public:
  /// Null when no directory (`TMPDIR`, /var/tmp, /tmp, the working directory) takes such a file.
  static std::shared_ptr<spill_file> create();

  explicit spill_file(unique_fd fd) : fd_(std::move(fd)) {}

  /// Whether all was written.
  bool write(std::uint64_t position, std::string_view bytes);
  /// Whether all was read.
  bool read(std::uint64_t position, char* to, std::size_t size);
  /// Gives a part's disk space back, where the file system can.
  void discard(std::uint64_t position, std::uint64_t size);
  /// A tenth of what is free where the file lies.
  [[nodiscard]] std::uint64_t tenth_of_free_space() const;

 private:
  unique_fd fd_;
};

}  // namespace hf::agent

#endif
