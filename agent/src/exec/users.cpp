#include "exec/users.hpp"

#include "detail/unique_fd.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <string>

namespace hf::agent {
namespace {

std::string read_file(char const* path) {
  // What lies there instead of a file must not hold anybody up.
  unique_fd const file(::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  std::string text;
  char buffer[4096];
  while (file) {
    ssize_t const n = ::read(file.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0 || text.size() > (4u << 20))
      break;
    text.append(buffer, static_cast<std::size_t>(n));
  }
  return text;
}

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t value = 0;
  auto const end = text.data() + text.size();
  auto const parsed = std::from_chars(text.data(), end, value);
  // The highest number means "unchanged" to the kernel.
  if (text.empty() || parsed.ec != std::errc() || parsed.ptr != end || value == 0xffffffffu)
    return std::nullopt;
  return value;
}

template <class OnLine>
void for_each_line(std::string_view text, OnLine&& on_line) {
  while (!text.empty()) {
    auto const end = text.find('\n');
    std::array<std::string_view, 6> fields;
    std::string_view line = text.substr(0, end);
    for (auto& field : fields) {
      auto const colon = line.find(':');
      field = line.substr(0, colon);
      line = colon == line.npos ? std::string_view() : line.substr(colon + 1);
    }
    on_line(fields);
    if (end == text.npos)
      return;
    text.remove_prefix(end + 1);
  }
}

bool lists(std::string_view members, std::string_view name) {
  while (!members.empty()) {
    auto const comma = members.find(',');
    if (members.substr(0, comma) == name)
      return true;
    if (comma == members.npos)
      return false;
    members.remove_prefix(comma + 1);
  }
  return false;
}

}  // namespace

std::optional<identity> find_user(std::string_view text, std::string_view passwd,
                                  std::string_view group) {
  std::optional<identity> found;
  std::string_view name;
  auto const colon = text.find(':');
  if (auto const uid = number(text.substr(0, colon))) {
    found.emplace();
    found->uid = *uid;
    found->gid = *uid;
    if (colon != text.npos) {
      auto const gid = number(text.substr(colon + 1));
      if (!gid)
        return std::nullopt;
      found->gid = *gid;
      found->groups = {*gid};
      for_each_line(passwd, [&](auto const& fields) {
        if (number(fields[2]) == found->uid && !fields[5].empty() && found->home == "/")
          found->home = std::string(fields[5]);
      });
      return found;
    }
  }
  for_each_line(passwd, [&](auto const& fields) {
    auto const uid = number(fields[2]);
    auto const gid = number(fields[3]);
    if (!name.empty() || !uid || !gid || (found ? found->uid != *uid : fields[0] != text))
      return;
    name = fields[0];
    found.emplace();
    found->uid = *uid;
    found->gid = *gid;
    if (!fields[5].empty())
      found->home = std::string(fields[5]);
  });
  if (!found)
    return std::nullopt;
  found->groups = {found->gid};
  for_each_line(group, [&](auto const& fields) {
    auto const gid = number(fields[2]);
    if (gid && *gid != found->gid && !name.empty() && lists(fields[3], name))
      found->groups.push_back(*gid);
  });
  return found;
}

std::optional<identity> find_user(std::string_view text) {
  return find_user(text, read_file("/etc/passwd"), read_file("/etc/group"));
}

std::unordered_set<uid_t> uids_of_accounts() {
  std::unordered_set<uid_t> uids;
  for_each_line(read_file("/etc/passwd"), [&](auto const& fields) {
    if (auto const uid = number(fields[2]))
      uids.insert(*uid);
  });
  return uids;
}

}  // namespace hf::agent
