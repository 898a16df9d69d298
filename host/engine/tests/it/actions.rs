//! What steps can do: requests, workflows as steps, lists, reviews with rules, tools of other servers.

mod children;
mod http;
mod maps;
mod reviews;
mod tools;
