#include "http/target.hpp"

namespace hf::agent {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
}

bool decode(std::string_view text, bool plus_is_space, std::string& out) {
  bool good = true;
  out.clear();
  for (std::size_t i = 0; i < text.size(); ++i) {
    char const c = text[i];
    if (c == '+' && plus_is_space) {
      out.push_back(' ');
    } else if (c == '%') {
      int const high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
      int const low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
      if (high < 0 || low < 0) {
        good = false;
        out.push_back(c);
      } else {
        out.push_back(static_cast<char>(high * 16 + low));
        i += 2;
      }
    } else {
      out.push_back(c);
    }
  }
  return good;
}

std::string_view without_origin(std::string_view target) {
  for (std::string_view const scheme : {"http://", "https://"}) {
    if (target.substr(0, scheme.size()) != scheme)
      continue;
    auto const end = target.find_first_of("/?", scheme.size());
    return end == std::string_view::npos ? std::string_view("/") : target.substr(end);
  }
  return target;
}

}  // namespace

std::string_view target_path(std::string_view target) {
  target = without_origin(target);
  return target.substr(0, target.find('?'));
}

bool parse_target(request_head& head) {
  std::string_view const target = without_origin(head.target);
  std::string_view path = target.substr(0, target.find('?'));
  std::string_view query =
      path.size() < target.size() ? target.substr(path.size() + 1) : std::string_view();
  head.raw_query = std::string(query);

  std::string decoded;
  bool good = decode(path, false, decoded);
  while (!path.empty() && path.front() == '/')
    path.remove_prefix(1);
  while (!path.empty() && path.back() == '/')
    path.remove_suffix(1);
  while (!path.empty()) {
    auto const slash = path.find('/');
    head.path.emplace_back(path.substr(0, slash));
    if (slash == std::string_view::npos)
      break;
    path.remove_prefix(slash + 1);
  }

  while (!query.empty()) {
    auto const end = query.find('&');
    std::string_view const pair = query.substr(0, end);
    if (!pair.empty()) {
      auto const equals = pair.find('=');
      std::string name;
      good = decode(pair.substr(0, equals), true, name) && good;
      std::string value;
      if (equals != std::string_view::npos)
        good = decode(pair.substr(equals + 1), true, value) && good;
      head.query.insert_or_assign(std::move(name), std::move(value));
    }
    if (end == std::string_view::npos)
      break;
    query.remove_prefix(end + 1);
  }
  return good;
}

}  // namespace hf::agent
