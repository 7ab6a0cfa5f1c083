#ifndef HF_SANDBOX_AGENT_HTTP_FIELD_TEXT_HPP
#define HF_SANDBOX_AGENT_HTTP_FIELD_TEXT_HPP

#include <string>
#include <string_view>

namespace hf::agent {

/// Without the spaces and tabs at both ends.
inline std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
    text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t'))
    text.remove_suffix(1);
  return text;
}

inline void append_field(std::string& text, std::string_view name, std::string_view value) {
  text.append(name).append(": ").append(value).append("\r\n");
}

}  // namespace hf::agent

#endif
