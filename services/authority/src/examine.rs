//! Looking over the small files that an authority keeps beside its store and its feeds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lanyard_env::Env;
use lanyard_party::StoreKey;

use crate::epochs::{DECIDED, Decided};
use crate::error::PublishError;
use crate::keys::{AUDIENCE_KEYS, KeyFolder};
use crate::recovery::{SIGNED, SignedUpTo};

/// A file, or a folder of them, and what it holds.
pub struct Examined {
    /// Where it is.
    pub path: PathBuf,
    /// What it says, in words; or why it cannot be used.
    pub found: Result<String, PublishError>,
}

/// Looks at what is there of these files in the data folder of an authority, and changes nothing. Several instances over one
/// store keep them in there, sealed: then there is nothing here.
#[must_use]
pub fn examine(env: &Env, data: &Path, store_key: &Arc<StoreKey>) -> Vec<Examined> {
    let path = data.join(SIGNED);
    let signed = SignedUpTo::at(env.clone(), path.clone()).read().transpose();
    let signed = signed.map(|read| Examined {
        path,
        found: read.map(|signed| {
            let of = if signed.is_restored { ", a restored backup" } else { "" };
            format!("signed up to size {}, change {} of the store{of}", signed.size, signed.cursor)
        }),
    });
    let path = data.join(DECIDED);
    let decided = Decided::at(env.clone(), path.clone()).read().transpose();
    let decided = decided.map(|read| Examined {
        path,
        found: read.map(|epoch| format!("epoch {epoch} is to begin out of turn")),
    });
    let keys = audience_keys(env, &data.join(AUDIENCE_KEYS), store_key);
    signed.into_iter().chain(decided).chain(keys).collect()
}

fn audience_keys(env: &Env, folder: &Path, store_key: &Arc<StoreKey>) -> Vec<Examined> {
    let whole = |found| Examined { path: folder.to_owned(), found };
    let opened = KeyFolder::open(env.clone(), folder.to_owned(), Arc::clone(store_key));
    let opened = opened.and_then(|keys| keys.names().map(|names| (keys, names)));
    let (keys, names) = match opened {
        Ok(opened) => opened,
        Err(error) => return vec![whole(Err(error))],
    };
    let (mut sound, mut examined) = (0, Vec::new());
    for (name, of) in names {
        match of.map(|(epoch, audience)| keys.find(epoch, audience)) {
            Some(Ok(Some(_))) => sound += 1,
            // Forgotten with its epoch since the folder was listed; or a file that no key is kept in.
            Some(Ok(None)) | None => {}
            Some(Err(error)) => {
                examined.push(Examined { path: folder.join(name), found: Err(error) });
            }
        }
    }
    if sound > 0 {
        examined.push(whole(Ok(format!("{sound} audience keys"))));
    }
    examined
}

#[cfg(test)]
mod tests;
