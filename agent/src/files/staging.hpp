#ifndef HF_SANDBOX_AGENT_FILES_STAGING_HPP
#define HF_SANDBOX_AGENT_FILES_STAGING_HPP

#include "detail/unique_fd.hpp"

#include <string>

namespace hf::agent {

/// A new file in a directory that nobody sees until it is given a name: without any name
/// (O_TMPFILE) where the file system can, else hidden. Destroyed without `link_as` it vanishes.
class staging_file {
 public:
  staging_file() = default;
  staging_file(staging_file&& other) noexcept;
  staging_file& operator=(staging_file&& other) noexcept;
  ~staging_file();

  /// Creates the file (mode 0600) in `directory`, which has to stay open; errno, 0 for success.
  int create(int directory);
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(fd_); }

  /// Gives the file its name, in place of a file that has it already; errno, 0 for success. On
  /// failure the file is still there, and `fd` may be another one with the same content.
  int link_as(std::string const& name);

 private:
  int create_hidden();
  int make_hidden();
  void drop() noexcept;

  int directory_ = -1;
  unique_fd fd_;
  /// The hidden name; empty while there is none.
  std::string hidden_;
};

}  // namespace hf::agent

#endif
