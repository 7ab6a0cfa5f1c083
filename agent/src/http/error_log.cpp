#include "http/error_log.hpp"

#include <unistd.h>

#include <string>

namespace hf::agent {
namespace {

void write_line(std::string_view what) {
  std::string text = "hf-sandbox-agent: ";
  text.append(what).append("\n");
  [[maybe_unused]] auto const ignored = ::write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace

void error_log::line(std::string_view what) {
  auto const now = std::chrono::steady_clock::now();
  if (now - window_ > std::chrono::seconds(10)) {
    if (suppressed_ > 0)
      write_line(std::to_string(suppressed_) + " further lines were not written");
    window_ = now;
    written_ = 0;
    suppressed_ = 0;
  }
  if (written_ >= burst) {
    ++suppressed_;
    return;
  }
  ++written_;
  write_line(what);
}

}  // namespace hf::agent
