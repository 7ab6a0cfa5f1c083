#ifndef HF_SANDBOX_AGENT_FILES_PENDING_WRITE_HPP
#define HF_SANDBOX_AGENT_FILES_PENDING_WRITE_HPP

#include "files/resolve.hpp"
#include "files/root.hpp"
#include "files/staging.hpp"

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hf::agent {

/// The parameters of a write.
struct write_request {
  std::string path = {};
  /// Write in place from here on; nothing: the body replaces the content.
  std::optional<std::uint64_t> offset = {};
  std::optional<mode_t> mode = {};
  bool make_parents = true;
  /// Final size; nothing: as long as the body, or with `offset` whatever results.
  std::optional<std::uint64_t> truncate_to = {};
  /// Refuse (409) what cannot be replaced atomically.
  bool require_atomic = false;
};

/// A write between its begin, where it is checked and its descriptor opened, and its end, where the
/// content appears. Destroyed before its end it leaves no temporary file, and the old content
/// unless that had to be written directly (offset given, or a directory without room for a second
/// file).
class pending_write {
 public:
  /// Opens what the body has to be written to. Throws `http_error` and changes nothing but missing
  /// parents then.
  pending_write(file_root const& root, write_request request);
  pending_write(pending_write&&) = default;

  /// Where the body goes, from `offset()` on.
  [[nodiscard]] int fd() const noexcept;
  [[nodiscard]] std::uint64_t offset() const noexcept { return request_.offset.value_or(0); }
  /// Devices and files of the kernel take plain writes in order only: `append`.
  [[nodiscard]] bool ordered() const noexcept { return manner_ == manner::ordered; }
  [[nodiscard]] std::string const& shown() const noexcept { return at_.shown; }

  /// Writes bytes behind those before, from `offset()` on. Throws `http_error`.
  void append(std::string_view bytes);
  /// Puts the content in place, `size` bytes having been received, and closes everything: who has
  /// the answer may unmount what was written to. Throws `http_error`.
  void finish(std::uint64_t size);
  /// After `finish`: whether the content appeared all at once.
  [[nodiscard]] bool atomic() const noexcept { return manner_ == manner::replace; }

 private:
  /// How the body comes into the file: into a new file that takes the name; into a new file whose
  /// content is copied at the end; directly; directly with plain writes.
  enum class manner { replace, copy, direct, ordered };

  void choose(struct stat const* existing);
  void open_target(bool create);
  bool stage(struct stat const* existing);
  void demand_atomic(char const* why) const;
  void complete(std::uint64_t size);
  void install();
  void copy_into_target(std::uint64_t size);
  [[noreturn]] void fail(int number) const;

  file_root const* root_;
  write_request request_;
  location at_;
  manner manner_ = manner::replace;
  /// The new file (replace, copy).
  staging_file staged_;
  /// The file itself (copy, direct, ordered).
  unique_fd target_;
  bool exists_ = false;
  mode_t mode_ = 0;
  std::uint64_t appended_ = 0;
};

}  // namespace hf::agent

#endif
