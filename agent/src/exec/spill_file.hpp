#ifndef HF_SANDBOX_AGENT_EXEC_SPILL_FILE_HPP
#define HF_SANDBOX_AGENT_EXEC_SPILL_FILE_HPP

#include "detail/unique_fd.hpp"

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string_view>

namespace hf::agent {

/// A file without a name, for output that has no room in memory; made in the first directory of
/// `TMPDIR`, /var/tmp, /tmp and the working directory that takes it. Its functions may block; they
/// may be called from any thread.
class spill_file {
 public:
  /// Makes the file, once; false when no directory takes it.
  bool open();

  /// Whether all was written.
  bool write(std::uint64_t position, std::string_view bytes);
  /// Whether all was read.
  bool read(std::uint64_t position, char* to, std::size_t size);
  /// Gives a part's disk space back, where the file system can.
  void discard(std::uint64_t position, std::uint64_t size);
  /// A tenth of what was free where the file lies when it was made.
  [[nodiscard]] std::uint64_t tenth_of_free_space() const noexcept { return tenth_of_free_space_; }

 private:
  std::once_flag made_;
  unique_fd fd_;
  std::uint64_t tenth_of_free_space_ = 0;
};

}  // namespace hf::agent

#endif
