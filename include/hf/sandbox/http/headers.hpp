#ifndef HF_SANDBOX_HTTP_HEADERS_HPP
#define HF_SANDBOX_HTTP_HEADERS_HPP

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hf::http {

/// ASCII case-insensitive comparison, as header names need it (RFC 9110, 5.1).
[[nodiscard]] constexpr bool iequals(std::string_view a, std::string_view b) noexcept {
  auto const lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  if (a.size() != b.size())
    return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (lower(a[i]) != lower(b[i]))
      return false;
  return true;
}

/// One header field.
struct header {
  /// The name, as it was written.
  std::string name;
  /// The value.
  std::string value;

  /// Compares name and value byte by byte.
  friend bool operator==(header const&, header const&) = default;
};

/// Header fields in order; names are looked up without regard to case, repeats are kept.
class headers {
 public:
  /// Walks over the fields in their order.
  using const_iterator = std::vector<header>::const_iterator;

  headers() = default;
  /// These fields in this order.
  template <class = void>
  headers(std::initializer_list<header> fields) : fields_(fields) {}

  /// Adds a field behind those that are there.
  template <class = void>
  void add(std::string name, std::string value) {
    fields_.push_back({std::move(name), std::move(value)});
  }
  /// Replaces all fields of that name by one.
  template <class = void>
  void set(std::string name, std::string value) {
    erase(name);
    add(std::move(name), std::move(value));
  }
  /// Removes all fields of that name.
  template <class = void>
  void erase(std::string_view name) {
    for (auto field = fields_.begin(); field != fields_.end();)
      if (iequals(field->name, name))
        field = fields_.erase(field);
      else
        ++field;
  }
  /// The first value of that name; null when there is none. Valid until a field is added or
  /// removed, or the object is assigned to or gone; hence not for a temporary.
  template <class = void>
  [[nodiscard]] std::string const* find(std::string_view name) const& noexcept {
    for (auto const& f : fields_)
      if (iequals(f.name, name))
        return &f.value;
    return nullptr;
  }
  /// Would point into what is about to go.
  template <class = void>
  std::string const* find(std::string_view name) const&& = delete;
  /// The first value of that name, or an empty view; valid as `find`'s.
  template <class = void>
  [[nodiscard]] std::string_view get(std::string_view name) const noexcept {
    auto const* const value = find(name);
    return value == nullptr ? std::string_view() : std::string_view(*value);
  }
  /// Whether there is such a field.
  template <class = void>
  [[nodiscard]] bool contains(std::string_view name) const noexcept {
    return find(name) != nullptr;
  }

  /// The first field.
  [[nodiscard]] const_iterator begin() const noexcept { return fields_.begin(); }
  /// Behind the last field.
  [[nodiscard]] const_iterator end() const noexcept { return fields_.end(); }
  /// Number of fields.
  [[nodiscard]] std::size_t size() const noexcept { return fields_.size(); }
  /// Whether there is none.
  [[nodiscard]] bool empty() const noexcept { return fields_.empty(); }

  /// Compares name and value byte by byte.
  friend bool operator==(headers const&, headers const&) = default;

 private:
  std::vector<header> fields_;
};

}  // namespace hf::http

#endif
