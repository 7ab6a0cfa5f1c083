#ifndef HF_SANDBOX_WIRE_FILES_HPP
#define HF_SANDBOX_WIRE_FILES_HPP

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace hf::wire {

/// What a directory entry is; anything that is neither a directory nor a symbolic link is a file.
enum class file_type { file, directory, symlink };

/// An entry of a directory listing, and the answer of stat.
struct file_entry {
  /// Bytes, not necessarily UTF-8 (on the wire `name_b64` and `path_b64` then).
  std::string name = {};
  /// Absolute path.
  std::string path = {};
  file_type type = file_type::file;
  std::uint64_t size = 0;
  /// Milliseconds since the epoch.
  std::optional<std::int64_t> mtime_ms = {};
  /// Permission bits, octal 07777.
  std::uint32_t mode = 0;
};

/// Answer of `GET /v1/files/list`.
struct file_listing {
  std::vector<file_entry> entries = {};
  bool truncated = false;
  /// Where to go on (`after`), when truncated.
  std::optional<std::string> next = {};
};

}  // namespace hf::wire

#endif
