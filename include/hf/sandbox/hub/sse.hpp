#ifndef HF_SANDBOX_HUB_SSE_HPP
#define HF_SANDBOX_HUB_SSE_HPP

#include <hf/sandbox/error.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace hf::hub {

/// Cuts a stream of server-sent events into the JSON texts of its `data:` lines (bytes in, texts
/// out; no I/O). The Hub sends one line per event; comments and other fields are skipped.
class sse_decoder {
 public:
  /// Longest line that is accepted.
  static constexpr std::size_t max_line = std::size_t{16} << 20;

  /// Takes the next bytes; calls `on_data(std::string_view)` for each complete event, which returns
  /// false to end. Returns false once it did. Throws `errc::too_large` for an endless line.
  template <class OnData>
  bool feed(std::string_view bytes, OnData&& on_data) {
    while (!bytes.empty()) {
      auto const end = bytes.find_first_of("\r\n");
      line_.append(bytes.substr(0, end));
      if (line_.size() > max_line)
        throw error(errc::too_large, "an event of the Hugging Face Hub is larger than 16 MiB");
      if (end == std::string_view::npos)
        return true;
      bytes.remove_prefix(end + 1);
      std::string_view text(line_);
      bool go_on = true;
      if (text.substr(0, 5) == "data:") {
        text.remove_prefix(text.substr(5, 1) == " " ? 6 : 5);
        if (!text.empty())
          go_on = on_data(text);
      }
      line_.clear();
      if (!go_on)
        return false;
    }
    return true;
  }

 private:
  std::string line_;
};

}  // namespace hf::hub

#endif
