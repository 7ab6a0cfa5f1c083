#ifndef HF_SANDBOX_AGENT_HOST_HOMES_HPP
#define HF_SANDBOX_AGENT_HOST_HOMES_HPP

#include "files/root.hpp"

#include <sys/types.h>

#include <string>

namespace hf::agent {

/// The directory that holds the homes of sandboxes. Blocks; may be used by several threads.
class home_directory {
 public:
  /// Makes the directory (0711, root's) and removes what an earlier agent has left in it. Throws
  /// `std::system_error`.
  explicit home_directory(std::string path);

  /// Makes the home of a sandbox (0700, its own) with `.tmp` and `.sbx/proxy`, and opens it
  /// (O_PATH). Throws `std::system_error`; a part that was made is left for `remove`.
  [[nodiscard]] unique_fd make(std::string const& id, uid_t uid) const;
  /// Removes a home with all it holds; none there is fine. Returns why that failed, or nothing.
  [[nodiscard]] std::string remove(std::string const& id) const;
  [[nodiscard]] std::string path_of(std::string const& id) const {
    return all_.home_path + "/" + id;
  }

 private:
  file_root all_;
};

}  // namespace hf::agent

#endif
