#ifndef HF_SANDBOX_DETAIL_PRINTABLE_HPP
#define HF_SANDBOX_DETAIL_PRINTABLE_HPP

#include <hf/sandbox/detail/utf8.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hf::detail {

/// The text as it may be shown in a terminal or a log: control characters as `\x1b`, bytes that are
/// not UTF-8 as U+FFFD. Line ends and tabs stay: `launch_error` holds whole lines.
[[nodiscard]] inline std::string printable(std::string text) {
  auto const is_control = [](std::string_view one) {
    auto const first = static_cast<unsigned char>(one[0]);
    // In UTF-8, U+0080 to U+009F are C2 80 to C2 9F.
    return one.size() == 1
               ? (first < 0x20 && first != '\n' && first != '\t') || first == 0x7f
               : one.size() == 2 && first == 0xc2 && static_cast<unsigned char>(one[1]) < 0xa0;
  };
  std::string out;
  bool changed = false;
  std::string_view rest(text);
  while (!rest.empty()) {
    auto const length = utf8_sequence(rest);
    auto const one = rest.substr(0, length == 0 ? 1 : length);
    bool const bad = length == 0 || is_control(one);
    if (bad && !std::exchange(changed, true))
      out.assign(text, 0, text.size() - rest.size());
    if (length == 0) {
      out += "\xef\xbf\xbd";
    } else if (bad) {
      constexpr char digits[] = "0123456789abcdef";
      auto const code = static_cast<unsigned char>(one.back());
      out += "\\x";
      out += digits[code >> 4];
      out += digits[code & 15];
    } else if (changed) {
      out += one;
    }
    rest.remove_prefix(one.size());
  }
  return changed ? out : std::move(text);
}

/// Texts that must not be shown.
using secret_list = std::vector<std::string>;

/// Replaces every occurrence of every secret by "***". Shorter ones than 4 bytes are words that
/// stand in any text.
[[nodiscard]] inline std::string without_secrets(std::string text, secret_list const& secrets) {
  for (auto const& secret : secrets) {
    if (secret.size() < 4)
      continue;
    for (std::size_t at = 0; (at = text.find(secret, at)) != std::string::npos; at += 3)
      text.replace(at, secret.size(), "***");
  }
  return text;
}

/// What a peer said, for a sentence of ours: one line, at most `most` bytes, without secrets.
[[nodiscard]] inline std::string peer_text(std::string_view text, secret_list const& secrets = {},
                                           std::size_t most = 1000) {
  // Cut before anything is searched: a peer decides how much there is. A secret that the cut
  // divides must not leave its beginning behind.
  std::size_t longest = 0;
  for (auto const& secret : secrets)
    longest = secret.size() > longest ? secret.size() : longest;
  auto out = without_secrets(std::string(text.substr(0, most + longest)), secrets);
  bool const cut = out.size() > most;
  if (cut) {
    auto end = most;
    while (end > 0 && (static_cast<unsigned char>(out[end]) & 0xc0) == 0x80)
      --end;
    out.resize(end);
  }
  while (!out.empty() && (out.back() == '\n' || out.back() == '\r' || out.back() == ' '))
    out.pop_back();
  for (char& c : out)
    if (c == '\n' || c == '\r' || c == '\t')
      c = ' ';
  if (cut)
    out += "...";
  return printable(std::move(out));
}

}  // namespace hf::detail

#endif
