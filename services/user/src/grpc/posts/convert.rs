//! The messages of `user.v1.PostService` as the use cases know them, and back.

use std::collections::HashSet;

use api::page_token;
use api::user::v1::get_popular_posts_request::Window as WireWindow;
use api::user::v1::{
    self as wire, ArchivePostRequest, CreatePostRequest, DeletePostRequest, GetPopularPostsRequest,
    GetPostBySlugRequest, GetPostRequest, ListPostsRequest, ListPostsResponse, PublishPostRequest,
    RecordPostViewsRequest, TransferAllPostsRequest, TransferAllPostsResponse, TransferPostRequest,
    UpdatePostRequest, post,
};
use api::violations::{Violations, timestamp};
use time::OffsetDateTime;
use types::{PostId, UserId};
use uuid::Uuid;

use crate::app::posts::{
    CreatePost, DeletePost, GetPopularPosts, ListPosts, MovePost, PostAddress, PostPage, TransferAllPosts,
    TransferPost, UpdatePost,
};
use crate::domain::counters::{PostCounts, Window};
use crate::domain::post::{
    CountedPost, ListedPost, PopularPost, Post, PostAuthor, PostChange, PostPlace, PostState,
    PostsHandedOver, PostsOf,
};
use crate::domain::slug::{SLUG_MAX, Slug, WORD_MAX};

const TITLE_MAX: usize = 200;
/// Of four bytes each, these fit into one message.
const BODY_MAX: usize = 16_000;
const EXCERPT_MAX: usize = 500;
const TAGS_MAX: usize = 10;
const VIEWS_MAX: usize = 100;
/// How many popular posts there are, where nobody says how many.
const POPULAR: u32 = 10;
const POPULAR_MAX: u32 = 100;
const NANOS_OF_MILLI: i128 = 1_000_000;
const LIST: &str = "user.v1.PostService/ListPosts";

pub(super) fn create_post(v: &mut Violations, request: &CreatePostRequest) -> Option<CreatePost> {
    let title = v.line("title", &request.title, TITLE_MAX);
    let body = v.body("body", &request.body, BODY_MAX);
    let slug = optional_slug(v, "slug", &request.slug, SLUG_MAX);
    let excerpt = excerpt(v, "excerpt", &request.excerpt);
    let category = optional_slug(v, "category", &request.category, WORD_MAX);
    let tags = tags(v, "tags", &request.tags);
    Some(CreatePost {
        title: title?,
        body: body?,
        slug: slug?,
        excerpt: excerpt?,
        category: category?,
        tags: tags?,
        publish: request.publish,
    })
}

pub(super) fn get_post(v: &mut Violations, request: &GetPostRequest) -> Option<PostId> {
    v.id("post_id", &request.post_id)
}

/// Of a post without a slug of its own, its id is what stands in addresses.
pub(super) fn get_post_by_slug(v: &mut Violations, request: &GetPostBySlugRequest) -> Option<PostAddress> {
    let id: Option<PostId> = request.slug.parse().ok();
    match id.filter(|id| id.to_string() == request.slug) {
        Some(id) => Some(PostAddress::Id(id)),
        None => slug(v, "slug", &request.slug, SLUG_MAX).map(PostAddress::Slug),
    }
}

pub(super) fn list_posts(v: &mut Violations, request: &ListPostsRequest) -> Option<ListPosts> {
    let of = posts_of(v, request);
    let state = state(v, request.state);
    if state.is_some_and(|state| state != PostState::Published) && request.author_id.is_empty() {
        v.add("state", "AUTHOR_REQUIRED", "must be PUBLISHED where author_id is not set");
    }
    let list = list_of(v.caller(), request);
    let after = match request.page_token.as_str() {
        "" => Some(None),
        token => page_token::decode(&as_texts(&list), token).and_then(|bytes| place(&bytes)).map(Some),
    };
    if after.is_none() {
        v.invalid_page_token();
    }
    let size = v.page_size(request.page_size);
    Some(ListPosts { of: of?, state: state?, after: after?, size: size? })
}

/// What a page token is good for: this method, this caller, these posts in this state.
pub(super) fn list_of(viewer: Option<UserId>, request: &ListPostsRequest) -> [String; 6] {
    [
        LIST.to_owned(),
        viewer.as_ref().map(UserId::to_string).unwrap_or_default(),
        request.author_id.clone(),
        request.tag.clone(),
        request.category.clone(),
        request.state.to_string(),
    ]
}

fn as_texts(list: &[String; 6]) -> [&str; 6] {
    list.each_ref().map(String::as_str)
}

fn posts_of(v: &mut Violations, request: &ListPostsRequest) -> Option<PostsOf> {
    let filters = [("author_id", &request.author_id), ("tag", &request.tag), ("category", &request.category)];
    let mut set = filters.into_iter().filter(|(_, text)| !text.is_empty());
    let Some((field, text)) = set.next() else { return Some(PostsOf::Everybody) };
    for (another, _) in set {
        v.add(another, "ONE_FILTER", format!("must not be set together with {field}"));
    }
    match field {
        "author_id" => v.id(field, text).map(PostsOf::Author),
        "tag" => slug(v, field, text, WORD_MAX).map(PostsOf::Tag),
        _ => slug(v, field, text, WORD_MAX).map(PostsOf::Category),
    }
}

fn state(v: &mut Violations, number: i32) -> Option<PostState> {
    match post::State::try_from(number) {
        Ok(post::State::Unspecified | post::State::Published) => Some(PostState::Published),
        Ok(post::State::Draft) => Some(PostState::Draft),
        Ok(post::State::Archived) => Some(PostState::Archived),
        Err(_) => {
            v.add("state", "UNKNOWN_ENUM_VALUE", "must be one of the states");
            None
        }
    }
}

pub(super) fn update_post(v: &mut Violations, request: &UpdatePostRequest) -> Option<UpdatePost> {
    let post_id = v.id("post_id", &request.post_id);
    let fields = ["title", "body", "slug", "excerpt", "category", "tags"];
    let mask = v.update_mask::<wire::Post>(request.update_mask.as_ref(), &fields);
    let post = request.post.clone().unwrap_or_default();
    let title = mask.value("title", || v.line("post.title", &post.title, TITLE_MAX));
    let body = mask.value("body", || v.body("post.body", &post.body, BODY_MAX));
    let slug = mask.value("slug", || optional_slug(v, "post.slug", &post.slug, SLUG_MAX));
    let excerpt = mask.value("excerpt", || excerpt(v, "post.excerpt", &post.excerpt));
    let category = mask.value("category", || optional_slug(v, "post.category", &post.category, WORD_MAX));
    let tags = mask.value("tags", || tags(v, "post.tags", &post.tags));
    let etag = v.etag(&request.etag);
    let change =
        PostChange { title: title?, body: body?, excerpt: excerpt?, category: category?, tags: tags? };
    Some(UpdatePost { post_id: post_id?, change, slug: slug?, etag: etag? })
}

pub(super) fn publish_post(v: &mut Violations, request: &PublishPostRequest) -> Option<MovePost> {
    let (post_id, etag) = (v.id("post_id", &request.post_id), v.etag(&request.etag));
    Some(MovePost { post_id: post_id?, etag: etag? })
}

pub(super) fn archive_post(v: &mut Violations, request: &ArchivePostRequest) -> Option<MovePost> {
    let (post_id, etag) = (v.id("post_id", &request.post_id), v.etag(&request.etag));
    Some(MovePost { post_id: post_id?, etag: etag? })
}

pub(super) fn delete_post(v: &mut Violations, request: &DeletePostRequest) -> Option<DeletePost> {
    let (post_id, etag) = (v.id("post_id", &request.post_id), v.etag(&request.etag));
    Some(DeletePost { post_id: post_id?, etag: etag? })
}

pub(super) fn transfer_post(v: &mut Violations, request: &TransferPostRequest) -> Option<TransferPost> {
    let post_id = v.id("post_id", &request.post_id);
    let to = v.another_user("to_user_id", &request.to_user_id, "SAME_USER");
    let etag = v.etag(&request.etag);
    Some(TransferPost { post_id: post_id?, to: to?, etag: etag? })
}

pub(super) fn transfer_all_posts(
    v: &mut Violations,
    request: &TransferAllPostsRequest,
) -> Option<TransferAllPosts> {
    let from = v.user_or_caller("from_user_id", &request.from_user_id);
    let to = v.id("to_user_id", &request.to_user_id);
    if to.is_some() && to == from {
        v.add("to_user_id", "SAME_USER", "must be another user than the one who has the posts");
    }
    Some(TransferAllPosts { from: from?, to: to? })
}

pub(super) fn record_post_views(v: &mut Violations, request: &RecordPostViewsRequest) -> Option<Vec<PostId>> {
    let texts = &request.post_ids;
    if texts.is_empty() {
        v.add("post_ids", "REQUIRED", "must have at least one id");
        return None;
    }
    if texts.len() > VIEWS_MAX {
        v.add("post_ids", "TOO_MANY", format!("must have at most {VIEWS_MAX} ids"));
        return None;
    }
    let mut seen = HashSet::new();
    let mut ids = Vec::with_capacity(texts.len());
    for (place, text) in texts.iter().enumerate() {
        let field = format!("post_ids[{place}]");
        let id = v.id(&field, text);
        if id.is_some_and(|id: PostId| !seen.insert(id)) {
            v.add(&field, "DUPLICATE", "must name each post once");
        }
        ids.push(id);
    }
    ids.into_iter().collect()
}

pub(super) fn get_popular_posts(
    v: &mut Violations,
    request: &GetPopularPostsRequest,
) -> Option<GetPopularPosts> {
    let window = match WireWindow::try_from(request.window) {
        Ok(WireWindow::Unspecified | WireWindow::Month) => Some(Window::Month),
        Ok(WireWindow::Week) => Some(Window::Week),
        Ok(WireWindow::Day) => Some(Window::Day),
        Err(_) => {
            v.add("window", "UNKNOWN_ENUM_VALUE", "must be one of the windows");
            None
        }
    };
    let size = v.page_size(request.page_size).map(|size| match request.page_size {
        0 => POPULAR,
        _ => size.min(POPULAR_MAX),
    });
    Some(GetPopularPosts { window: window?, size: size? })
}

fn excerpt(v: &mut Violations, field: &str, text: &str) -> Option<Option<String>> {
    if text.is_empty() { Some(None) } else { v.body(field, text, EXCERPT_MAX).map(Some) }
}

fn optional_slug(v: &mut Violations, field: &str, text: &str, max: usize) -> Option<Option<Slug>> {
    if text.is_empty() { Some(None) } else { slug(v, field, text, max).map(Some) }
}

fn slug(v: &mut Violations, field: &str, text: &str, max: usize) -> Option<Slug> {
    if text.is_empty() {
        v.add(field, "REQUIRED", "must be set");
        return None;
    }
    if text.chars().count() > max {
        v.add(field, "TOO_LONG", format!("must have at most {max} characters"));
        return None;
    }
    let slug = Slug::parse(text);
    if slug.is_none() {
        let rule = "must be small letters and digits, as NFKC writes them, in words with one hyphen between, and no UUID";
        v.add(field, "INVALID_SLUG", rule);
    }
    slug
}

fn tags(v: &mut Violations, field: &str, texts: &[String]) -> Option<Vec<Slug>> {
    if texts.len() > TAGS_MAX {
        v.add(field, "TOO_MANY", format!("must be at most {TAGS_MAX}"));
        return None;
    }
    let mut seen = HashSet::new();
    let mut tags = Vec::with_capacity(texts.len());
    for (place, text) in texts.iter().enumerate() {
        let field = format!("{field}[{place}]");
        if seen.insert(text) {
            tags.push(slug(v, &field, text, WORD_MAX));
        } else {
            v.add(&field, "DUPLICATE", "must name each tag once");
        }
    }
    tags.into_iter().collect()
}

/// The place behind which the next page begins, as a token carries it: the id, and before it the time in milliseconds if
/// there is one.
fn place_bytes(place: PostPlace) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(24);
    if let Some(time) = place.publish_time {
        let millis = i64::try_from(time.unix_timestamp_nanos() / NANOS_OF_MILLI).unwrap_or(i64::MAX);
        bytes.extend_from_slice(&millis.to_be_bytes());
    }
    bytes.extend_from_slice(place.id.uuid().as_bytes());
    bytes
}

fn place(bytes: &[u8]) -> Option<PostPlace> {
    let (time, id) = bytes.split_at_checked(bytes.len().checked_sub(16)?)?;
    let publish_time = match time {
        [] => None,
        time => {
            let millis = i64::from_be_bytes(time.try_into().ok()?);
            let nanos = i128::from(millis) * NANOS_OF_MILLI;
            Some(OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?)
        }
    };
    Some(PostPlace { publish_time, id: PostId::from_uuid(Uuid::from_slice(id).ok()?) })
}

pub(super) fn post_page(page: PostPage, list: &[String; 6]) -> ListPostsResponse {
    let token = |place| page_token::encode(&as_texts(list), &place_bytes(place));
    ListPostsResponse {
        next_page_token: page.next.map(token).unwrap_or_default(),
        posts: page.posts.into_iter().map(wire::ListedPost::from).collect(),
    }
}

pub(super) fn handed_over(posts: PostsHandedOver) -> TransferAllPostsResponse {
    let post_ids = posts.ids.into_iter().map(|id| id.to_string()).collect();
    TransferAllPostsResponse { post_ids, has_more: posts.has_more }
}

impl From<Post> for wire::Post {
    fn from(post: Post) -> Self {
        Self {
            id: post.id.to_string(),
            author_id: post.author_id.to_string(),
            slug: post.address(),
            title: post.title,
            body: post.body,
            excerpt: post.excerpt.unwrap_or_default(),
            category: post.category.as_ref().map(Slug::to_string).unwrap_or_default(),
            tags: post.tags.iter().map(Slug::to_string).collect(),
            state: post::State::from(post.state).into(),
            publish_time: post.publish_time.map(timestamp),
            create_time: Some(timestamp(post.create_time)),
            update_time: Some(timestamp(post.update_time)),
            etag: post.version.to_string(),
            counts: None,
        }
    }
}

impl From<CountedPost> for wire::Post {
    fn from(CountedPost { post, counts }: CountedPost) -> Self {
        Self { counts: Some(counts.into()), ..post.into() }
    }
}

impl From<PostCounts> for wire::PostCounts {
    fn from(PostCounts { likes, comments, views }: PostCounts) -> Self {
        Self { likes, comments, views }
    }
}

impl From<ListedPost> for wire::ListedPost {
    fn from(listed: ListedPost) -> Self {
        Self { post: Some(listed.post.into()), author: Some(listed.author.into()) }
    }
}

impl From<PopularPost> for wire::PopularPost {
    fn from(popular: PopularPost) -> Self {
        let ListedPost { post, author } = popular.listed;
        Self { post: Some(post.into()), author: Some(author.into()), score_tenths: popular.score_tenths }
    }
}

impl From<PostAuthor> for wire::PostAuthor {
    fn from(author: PostAuthor) -> Self {
        Self {
            user_id: author.user_id.to_string(),
            display_name: author.display_name,
            avatar_url: author.avatar_url.unwrap_or_default(),
            bio: author.bio.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_back_from_a_token() {
        let id = PostId::from_uuid(Uuid::from_u128(7));
        let time = OffsetDateTime::UNIX_EPOCH + time::Duration::milliseconds(1_234_567);
        for publish_time in [None, Some(time), Some(OffsetDateTime::UNIX_EPOCH)] {
            let there = PostPlace { publish_time, id };
            assert_eq!(place(&place_bytes(there)), Some(there));
        }
        for bad in [&[][..], &[0; 15], &[0; 17], &[0x7f; 24], &[0; 32]] {
            assert_eq!(place(bad), None, "{bad:?}");
        }
    }
}
