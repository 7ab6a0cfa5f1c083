#ifndef HF_SANDBOX_AGENT_FILES_READ_HPP
#define HF_SANDBOX_AGENT_FILES_READ_HPP

#include "files/root.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace hf::agent {

/// A regular file, open for reading.
struct readable_file {
  unique_fd fd = {};
  std::uint64_t size = 0;
  /// False for files whose size says nothing (procfs and its like): read them to their end.
  bool size_known = true;
  std::string shown = {};
};

/// Opens a regular file without ever blocking. Throws `http_error`; directories are 409, FIFOs,
/// devices and sockets 400.
readable_file open_for_reading(file_root const& root, std::string_view path);

/// Reads up to `length` bytes at `offset`, also from files that cannot seek when read in order;
/// empty at the end, and where a read would have to wait. Throws `http_error`.
std::string read_piece(readable_file const& file, std::uint64_t offset, std::size_t length);

}  // namespace hf::agent

#endif
