#ifndef HF_SANDBOX_AGENT_FILES_LIST_HPP
#define HF_SANDBOX_AGENT_FILES_LIST_HPP

#include "files/root.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hf::agent {

/// One page of a directory. Holds its names and nothing more of the directory, however large that
/// is.
class directory_page {
 public:
  static constexpr std::size_t default_limit = 10'000;
  static constexpr std::size_t max_limit = 50'000;

  /// Picks the first `limit` names behind `after`, in the order of their bytes. Throws
  /// `http_error`.
  directory_page(file_root const& root, std::string_view path, std::size_t limit,
                 std::string_view after);

  /// The next piece of the answer's JSON, some 64 KiB; empty when all was given out. Entries that
  /// have vanished meanwhile are left out.
  std::string next_piece();
  /// Whether all was given out.
  [[nodiscard]] bool ended() const noexcept { return ended_; }

 private:
  unique_fd directory_;
  std::string shown_;
  std::vector<std::string> names_;
  bool truncated_ = false;
  bool begun_ = false;
  bool ended_ = false;
  bool first_entry_ = true;
  std::size_t next_ = 0;
};

}  // namespace hf::agent

#endif
