#ifndef HF_SANDBOX_DETAIL_PARSE_JSON_HPP
#define HF_SANDBOX_DETAIL_PARSE_JSON_HPP

#include <cstddef>
#include <string_view>

namespace hf::detail {

/// Deepest nesting of JSON that a peer may send; what agents, Hub and Docker send has less than 16.
inline constexpr std::size_t max_json_depth = 64;
/// Most values in one text; the largest page of a directory has half as many.
inline constexpr std::size_t max_json_values = std::size_t{1} << 20;

/// Whether no parser can build more than these numbers of levels and values from the text. Counts
/// brackets and commas outside of strings, in one pass and without memory: a text that is not JSON
/// passes and is left to the parser, which stops where the text goes wrong.
[[nodiscard]] inline bool json_is_bounded(std::string_view text,
                                          std::size_t most_values = max_json_values,
                                          std::size_t deepest = max_json_depth) noexcept {
  std::size_t values = 1;
  std::size_t depth = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    switch (text[at]) {
      case '"':
        // The next quote behind an even number of backslashes ends the string; `find` is far faster
        // than a loop, and no run of backslashes is counted twice.
        for (bool escaped = true; escaped;) {
          auto const begin = at;
          at = text.find('"', at + 1);
          if (at == std::string_view::npos)
            return true;
          escaped = false;
          for (auto i = at; i > begin + 1 && text[i - 1] == '\\'; --i)
            escaped = !escaped;
        }
        break;
      case '[':
      case '{':
        if (++depth > deepest || ++values > most_values)
          return false;
        break;
      case ']':
      case '}':
        if (depth > 0)
          --depth;
        break;
      case ',':
        if (++values > most_values)
          return false;
        break;
      default:
        break;
    }
  }
  return true;
}

/// The one way in which JSON of a peer becomes values. A value takes up to a hundred times the
/// bytes that it was sent in, so that bounds are checked before any is built. A discarded value for
/// what is not JSON or exceeds them; throws nothing but `std::bad_alloc`.
template <class Json>
[[nodiscard]] Json parse_json(std::string_view text, std::size_t most_values = max_json_values) {
  if (!json_is_bounded(text, most_values))
    return Json(Json::value_t::discarded);
  return Json::parse(text.begin(), text.end(), nullptr, false);
}

}  // namespace hf::detail

#endif
