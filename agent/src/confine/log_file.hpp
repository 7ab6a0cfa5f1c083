#ifndef HF_SANDBOX_AGENT_CONFINE_LOG_FILE_HPP
#define HF_SANDBOX_AGENT_CONFINE_LOG_FILE_HPP

#include <cstddef>
#include <string>
#include <string_view>

namespace hf::agent::confine {

/// A file that keeps the last part of what was written to it.
class log_file {
 public:
  explicit log_file(std::string const& path);
  log_file(log_file const&) = delete;
  log_file& operator=(log_file const&) = delete;
  ~log_file();

  void append(std::string_view bytes);
  /// The last bytes.
  [[nodiscard]] std::string tail(std::size_t limit) const;

 private:
  static constexpr std::size_t kept_ = 64 * 1024;

  int fd_;
  std::string memory_;
};

}  // namespace hf::agent::confine

#endif
