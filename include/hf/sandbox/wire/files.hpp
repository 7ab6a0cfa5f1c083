#ifndef HF_SANDBOX_WIRE_FILES_HPP
#define HF_SANDBOX_WIRE_FILES_HPP

#include <hf/sandbox/detail/base64.hpp>
#include <hf/sandbox/detail/utf8.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/wire/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hf::wire {

/// What a directory entry is; anything that is neither a directory nor a symbolic link is a file.
enum class file_type { file, directory, symlink };

/// An entry of a directory listing, and the answer of stat.
struct file_entry {
  /// Bytes, not necessarily UTF-8 (on the wire `name_b64` and `path_b64` then).
  std::string name = {};
  /// Absolute path.
  std::string path = {};
  /// What it is.
  file_type type = file_type::file;
  /// Bytes.
  std::uint64_t size = 0;
  /// Milliseconds since the epoch.
  std::optional<std::int64_t> mtime_ms = {};
  /// Permission bits, octal 07777.
  std::uint32_t mode = 0;
};

/// Answer of `GET /v1/files/list`.
struct file_listing {
  /// The entries of this page, sorted by the bytes of their names.
  std::vector<file_entry> entries = {};
  /// Whether there are more.
  bool truncated = false;
  /// Where to go on (`after`), when truncated.
  std::optional<std::string> next = {};
};

/// Answer of `PUT /v1/files/write`.
struct write_result {
  /// Absolute path.
  std::string path = {};
  /// Bytes of the request's body.
  std::uint64_t size = 0;
  /// False: the content could not be put in place all at once.
  bool atomic = true;
};

namespace detail {

template <class = void>
[[noreturn]] void bad_file_answer(char const* what) {
  throw error(errc::protocol_error, std::string("the agent's file answer ") + what,
              {.where = hop::agent, .may_have_reached_peer = true});
}

/// Bytes as text that JSON can hold and, where that loses something, exactly as `<name>_b64`.
template <class Json>
void put_bytes(Json& j, std::string const& name, std::string_view bytes) {
  if (hf::detail::is_utf8(bytes)) {
    j[name] = bytes;
  } else {
    j[name] = hf::detail::utf8_lossy(bytes);
    j[name + "_b64"] = hf::detail::base64_encode(bytes);
  }
}

/// Reads what `put_bytes` wrote; nothing when the member is absent, null or no text.
template <class Json>
std::optional<std::string> take_bytes(Json const& j, std::string const& name) {
  if (auto const it = j.find(name + "_b64"); it != j.end() && it->is_string()) {
    auto bytes = hf::detail::base64_decode(it->template get_ref<std::string const&>());
    if (!bytes)
      bad_file_answer("has bad base64");
    return bytes;
  }
  if (auto const it = j.find(name); it != j.end() && it->is_string())
    return it->template get<std::string>();
  return std::nullopt;
}

template <class = void>
std::string octal(std::uint32_t mode) {
  std::string text;
  do {
    text.insert(text.begin(), static_cast<char>('0' + (mode & 7)));
    mode >>= 3;
  } while (mode != 0);
  return text;
}

template <class = void>
std::uint32_t parse_octal(std::string_view text) {
  std::uint32_t mode = 0;
  for (char const c : text) {
    if (c < '0' || c > '7' || mode > 07777)
      bad_file_answer("has a mode that is not octal");
    mode = mode * 8 + static_cast<std::uint32_t>(c - '0');
  }
  return mode;
}

}  // namespace detail

/// `{"name","path","type":"file|dir|symlink","size","mtime_ms","mode":"755"}`.
template <class Json = json>
[[nodiscard]] Json file_entry_to_json(file_entry const& entry) {
  Json j = Json::object();
  detail::put_bytes(j, "name", entry.name);
  detail::put_bytes(j, "path", entry.path);
  j["type"] = entry.type == file_type::directory ? "dir"
              : entry.type == file_type::symlink ? "symlink"
                                                 : "file";
  j["size"] = entry.size;
  j["mtime_ms"] = nullptr;
  if (entry.mtime_ms)
    j["mtime_ms"] = *entry.mtime_ms;
  j["mode"] = detail::octal(entry.mode);
  return j;
}

/// Reads an entry; `errc::protocol_error` when it has no name or its members are of another type.
template <class Json>
[[nodiscard]] file_entry file_entry_from_json(Json const& j) {
  if (!j.is_object())
    detail::bad_file_answer("is not an object");
  file_entry entry;
  auto name = detail::take_bytes(j, "name");
  if (!name)
    detail::bad_file_answer("has no name");
  entry.name = std::move(*name);
  entry.path = detail::take_bytes(j, "path").value_or(entry.name);
  auto const type = detail::take_bytes(j, "type").value_or("file");
  entry.type = type == "dir"       ? file_type::directory
               : type == "symlink" ? file_type::symlink
                                   : file_type::file;
  if (auto const it = j.find("size"); it != j.end()) {
    if (!it->is_number_unsigned())
      detail::bad_file_answer("has a size that is no number");
    entry.size = it->template get<std::uint64_t>();
  }
  if (auto const it = j.find("mtime_ms"); it != j.end() && it->is_number()) {
    // A fraction is cut off; a number beyond any date has no integer to become.
    if (auto const time = it->template get<double>(); time > 9e18 || time < -9e18)
      detail::bad_file_answer("has a time that is out of range");
    entry.mtime_ms = it->template get<std::int64_t>();
  }
  if (auto const mode = detail::take_bytes(j, "mode"))
    entry.mode = detail::parse_octal(*mode);
  return entry;
}

/// Reads one page; an older agent's page without `truncated` is complete.
template <class Json>
[[nodiscard]] file_listing file_listing_from_json(Json const& j) {
  auto const entries = j.is_object() ? j.find("entries") : j.end();
  if (entries == j.end() || !entries->is_array())
    detail::bad_file_answer("has no entries");
  file_listing listing;
  listing.entries.reserve(entries->size());
  for (auto const& entry : *entries)
    listing.entries.push_back(file_entry_from_json(entry));
  if (auto const it = j.find("truncated"); it != j.end() && it->is_boolean())
    listing.truncated = it->template get<bool>();
  if (listing.truncated)
    listing.next = detail::take_bytes(j, "next");
  return listing;
}

/// `{"path","size"}`, and `"atomic":false` where that is so.
template <class Json = json>
[[nodiscard]] Json write_result_to_json(write_result const& result) {
  Json j = Json::object();
  detail::put_bytes(j, "path", result.path);
  j["size"] = result.size;
  if (!result.atomic)
    j["atomic"] = false;
  return j;
}

/// Reads the answer of a write; `errc::protocol_error` when it has no size.
template <class Json>
[[nodiscard]] write_result write_result_from_json(Json const& j) {
  auto const size = j.is_object() ? j.find("size") : j.end();
  if (size == j.end() || !size->is_number_unsigned())
    detail::bad_file_answer("has no size");
  write_result result;
  result.path = detail::take_bytes(j, "path").value_or("");
  result.size = size->template get<std::uint64_t>();
  if (auto const it = j.find("atomic"); it != j.end() && it->is_boolean())
    result.atomic = it->template get<bool>();
  return result;
}

}  // namespace hf::wire

#endif
