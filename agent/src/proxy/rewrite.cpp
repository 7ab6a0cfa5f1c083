#include "proxy/rewrite.hpp"

#include "http/field_text.hpp"

#include <hf/sandbox/http/headers.hpp>

namespace hf::agent {
namespace {

using http::iequals;

bool is_below(std::string_view path, std::string_view prefix) {
  return path.substr(0, prefix.size()) == prefix &&
         (path.size() == prefix.size() || path[prefix.size()] == '/' ||
          path[prefix.size()] == '?' || path[prefix.size()] == '#');
}

std::string path_outside(proxy_names const& names, std::string_view path) {
  // "//host/path" names another server.
  if (path.empty() || path.front() != '/' || path.substr(0, 2) == "//" ||
      is_below(path, names.prefix))
    return std::string(path);
  return names.prefix + std::string(path);
}

std::string_view port_of(proxy_names const& names) {
  return std::string_view(names.inside).substr(names.inside.rfind(':') + 1);
}

bool is_loopback(std::string_view host) {
  return iequals(host, "localhost") || host == "127.0.0.1" || host == "[::1]" || host == "0.0.0.0";
}

// Whether an authority ("host:port") means the server inside.
bool is_inside(proxy_names const& names, std::string_view authority) {
  if (iequals(authority, names.inside) || iequals(authority, names.outside) ||
      (!names.far_outside.empty() && iequals(authority, names.far_outside)))
    return true;
  auto const colon = authority.rfind(':');
  bool const has_port = colon != std::string_view::npos && authority.back() != ']';
  auto const host = has_port ? authority.substr(0, colon) : authority;
  auto const port = has_port ? authority.substr(colon + 1) : std::string_view("80");
  return is_loopback(host) && port == port_of(names);
}

// Splits "scheme://authority/rest", the scheme with its colon being optional; false for what has no
// authority.
bool split_url(std::string_view url, std::string_view& scheme, std::string_view& authority,
               std::string_view& rest) {
  auto const mark = url.find("//");
  if (mark == std::string_view::npos || (mark > 0 && url[mark - 1] != ':') ||
      url.find_first_of("/?#") != mark)
    return false;
  scheme = url.substr(0, mark > 0 ? mark - 1 : 0);
  url.remove_prefix(mark + 2);
  auto const end = url.find_first_of("/?#");
  authority = url.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : url.substr(end);
  return true;
}

}  // namespace

std::string location_outside(proxy_names const& names, std::string_view location) {
  std::string_view scheme;
  std::string_view authority;
  std::string_view rest;
  if (!split_url(location, scheme, authority, rest))
    return path_outside(names, location);
  bool const of_the_web = scheme.empty() || iequals(scheme, "http") || iequals(scheme, "https");
  if (!of_the_web || !is_inside(names, authority))
    return std::string(location);
  std::string path(rest);
  if (path.empty() || path.front() != '/')
    path.insert(path.begin(), '/');
  // As a path, for the caller may have come by another scheme; never as one that begins with two
  // slashes, which would name another server.
  return is_below(path, names.prefix) ? path : names.prefix + path;
}

std::string cookie_outside(proxy_names const& names, std::string_view cookie) {
  std::string result;
  // Without a path the browser takes the request's, which can lie above the prefix.
  std::string path = names.prefix + "/";
  for (bool first = true;; first = false) {
    auto const end = cookie.find(';');
    auto const part = cookie.substr(0, end);
    auto const equals = part.find('=');
    auto const name = trimmed(part.substr(0, equals));
    auto const value =
        equals == std::string_view::npos ? std::string_view() : trimmed(part.substr(equals + 1));
    if (first) {
      result += part;
    } else if (iequals(name, "path")) {
      if (!value.empty() && value.front() == '/')
        path =
            is_below(value, names.prefix) ? std::string(value) : names.prefix + std::string(value);
    } else if (!iequals(name, "domain")) {
      result += ';';
      result += part;
    }
    if (end == std::string_view::npos)
      return result + "; Path=" + path;
    cookie.remove_prefix(end + 1);
  }
}

std::string origin_inside(proxy_names const& names, std::string_view origin) {
  std::string_view scheme;
  std::string_view authority;
  std::string_view rest;
  if (!split_url(origin, scheme, authority, rest) || !iequals(authority, names.outside))
    return std::string(origin);
  return "http://" + names.inside;
}

}  // namespace hf::agent
