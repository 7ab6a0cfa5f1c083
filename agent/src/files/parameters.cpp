#include "files/parameters.hpp"

#include <hf/sandbox/detail/utf8.hpp>

#include <algorithm>
#include <charconv>
#include <limits>

namespace hf::agent {
namespace {

[[noreturn]] void refuse(std::string const& name, std::string const& value, char const* wanted) {
  throw http_error{400, "invalid_argument",
                   "malformed '" + name + "' query parameter '" +
                       hf::detail::utf8_lossy(value.substr(0, 100)) + "': " + wanted};
}

}  // namespace

std::string const* file_parameters::find(std::string const& name) const {
  auto const it = head_.query.find(name);
  return it == head_.query.end() ? nullptr : &it->second;
}

std::string const& file_parameters::path() const {
  auto const* const path = find("path");
  if (path == nullptr || path->empty())
    throw http_error{400, "invalid_argument", "missing 'path' query parameter"};
  return *path;
}

std::string file_parameters::text(std::string const& name) const {
  auto const* const value = find(name);
  return value == nullptr ? std::string() : *value;
}

std::optional<std::uint64_t> file_parameters::number(std::string const& name) const {
  auto const* const text = find(name);
  if (text == nullptr)
    return std::nullopt;
  std::uint64_t value = 0;
  auto const* const end = text->data() + text->size();
  auto const [stop, failed] = std::from_chars(text->data(), end, value);
  if (failed != std::errc() || stop != end ||
      value > static_cast<std::uint64_t>((std::numeric_limits<std::int64_t>::max)()))
    refuse(name, *text, "a number from 0 to 2^63-1 is needed");
  return value;
}

bool file_parameters::flag(std::string const& name, bool absent) const {
  auto const* const text = find(name);
  if (text == nullptr)
    return absent;
  if (*text == "true" || *text == "1")
    return true;
  if (*text == "false" || *text == "0")
    return false;
  refuse(name, *text, "true, false, 1 or 0 is needed");
}

std::optional<mode_t> file_parameters::mode() const {
  auto const* const text = find("mode");
  if (text == nullptr)
    return std::nullopt;
  unsigned value = 0;
  auto const* const end = text->data() + text->size();
  auto const [stop, failed] = std::from_chars(text->data(), end, value, 8);
  if (failed != std::errc() || stop != end)
    refuse("mode", *text, "an octal number is needed");
  if (value > 0777)
    refuse("mode", *text, "permission bits (up to 777) only");
  return static_cast<mode_t>(value);
}

std::string file_parameters::operation() const {
  auto const* const text = find("op");
  if (text == nullptr)
    return {};
  std::string op = *text;
  for (auto& c : op)
    if (c >= 'A' && c <= 'F')
      c = static_cast<char>(c - 'A' + 'a');
  auto const is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (op.size() != 32 || !std::all_of(op.begin(), op.end(), is_hex))
    refuse("op", *text, "32 hexadecimal digits are needed");
  return op;
}

}  // namespace hf::agent
