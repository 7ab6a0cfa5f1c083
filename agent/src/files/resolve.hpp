#ifndef HF_SANDBOX_AGENT_FILES_RESOLVE_HPP
#define HF_SANDBOX_AGENT_FILES_RESOLVE_HPP

#include "files/root.hpp"

#include <string>
#include <string_view>

namespace hf::agent {

/// A path as an open parent directory and a name in it, so that nothing can be exchanged on the way
/// between two steps of one call.
struct location {
  /// The parent, opened with O_PATH.
  unique_fd directory = {};
  /// The last component; "." for a root.
  std::string name = {};
  /// Absolute path as it was asked for, for answers.
  std::string shown = {};
  /// The path ended in '/', so it can only mean a directory.
  bool wants_directory = false;

  /// Whether the name is a real entry, not ".", ".." or a root.
  [[nodiscard]] bool is_entry() const { return name != "." && name != ".."; }
};

/// Opens the parent of `path`; missing parents are made when `make_parents`. A symbolic link in
/// last place is not followed. Throws `http_error`; `verb` as for `throw_file_error`.
location locate(file_root const& root, std::string_view path, std::string_view verb,
                bool make_parents = false);

/// Follows the symbolic links that `at` names (confined roots: refuses one), up to the first name
/// that is not a link; that one need not exist. Links of /proc that lead to no path are left as
/// they are.
void follow_links(file_root const& root, location& at, std::string_view verb, bool make_parents);

/// Makes a directory and its missing parents; one that exists is fine. Returns its absolute path.
std::string ensure_directory(file_root const& root, std::string_view path);

}  // namespace hf::agent

#endif
