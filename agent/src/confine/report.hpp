#ifndef HF_SANDBOX_AGENT_CONFINE_REPORT_HPP
#define HF_SANDBOX_AGENT_CONFINE_REPORT_HPP

#include <string>
#include <string_view>

namespace hf::agent::confine {

/// Says on the status pipe what happens, one line each; the launcher reads it:
/// `keeper <pid>`, `ready`, `denied <why>` (the system refuses this isolation), `failed <why>`,
/// `log` (followed by the agent's last output, up to the end of file).
class report {
 public:
  explicit report(int fd) : fd_(fd) {}

  void line(std::string_view text) const;
  /// Ends the process: `denied` when the error number is what a forbidding system answers,
  /// else `failed`. The sentence is "<step>: <error text>".
  [[noreturn]] void give_up(std::string_view step, int error) const;
  [[noreturn]] void deny(std::string_view why) const;
  [[noreturn]] void fail(std::string_view why) const;
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

/// Writes all bytes to a descriptor, as far as it goes.
void write_all(int fd, std::string_view bytes);

}  // namespace hf::agent::confine

#endif
