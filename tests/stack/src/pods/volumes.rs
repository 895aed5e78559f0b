//! A pod's volumes as folders, laid out and kept up to date as a kubelet does it.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{
        ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, ServiceAccount, ServiceAccountTokenProjection,
        Volume, VolumeProjection,
    },
};
use kube::{Api, Client, ResourceExt, api::PostParams};

use super::spec;

/// Files of a volume by their paths in it.
type Files = BTreeMap<String, Vec<u8>>;

/// The volumes of one pod.
pub(super) struct Volumes {
    client: Client,
    namespace: String,
    ip: String,
    /// One folder per volume.
    folder: PathBuf,
    written: HashMap<String, (u64, Files)>,
    tokens: HashMap<String, (Instant, String)>,
}

impl Volumes {
    pub(super) fn new(client: Client, pod: &Pod, ip: &str, folder: PathBuf) -> Self {
        let namespace = pod.namespace().unwrap_or_default();
        Self { client, namespace, ip: ip.to_owned(), folder, written: HashMap::new(), tokens: HashMap::new() }
    }

    /// Folder of a volume.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes the volumes that have changed since the last call; an error if an object or a key that a volume needs is missing.
    pub(super) async fn refresh(&mut self, pod: &Pod) -> Result<()> {
        for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
            let files = self.files(pod, volume).await.with_context(|| format!("volume {}", volume.name))?;
            let folder = self.path(&volume.name);
            fs::create_dir_all(&folder)?;
            let Some(files) = files else { continue };
            let version = match self.written.get(&volume.name) {
                Some((_, same)) if *same == files => continue,
                Some((version, _)) => version + 1,
                None => 0,
            };
            write(&folder, version, &files)?;
            self.written.insert(volume.name.clone(), (version, files));
        }
        Ok(())
    }

    /// Files of a volume; `None` for an `emptyDir`, which has no files of ours.
    async fn files(&mut self, pod: &Pod, volume: &Volume) -> Result<Option<Files>> {
        let mut files = Files::new();
        if volume.empty_dir.is_some() {
            return Ok(None);
        } else if let Some(secret) = &volume.secret {
            let name = secret.secret_name.clone().unwrap_or_default();
            files = self.secret(&name, secret.items.as_deref(), secret.optional).await?;
        } else if let Some(map) = &volume.config_map {
            files = self.config_map(&map.name, map.items.as_deref(), map.optional).await?;
        } else if let Some(downward) = &volume.downward_api {
            files = self.downward(pod, downward.items.as_deref())?;
        } else if let Some(projected) = &volume.projected {
            for source in projected.sources.iter().flatten() {
                files.append(&mut self.projected(pod, source).await?);
            }
        } else {
            bail!("only emptyDir, secret, configMap, downwardAPI and projected are known here");
        }
        Ok(Some(files))
    }

    async fn projected(&mut self, pod: &Pod, source: &VolumeProjection) -> Result<Files> {
        let mut files = Files::new();
        if let Some(token) = &source.service_account_token {
            files.insert(token.path.clone(), self.token(pod, token).await?.into_bytes());
        }
        if let Some(map) = &source.config_map {
            files.append(&mut self.config_map(&map.name, map.items.as_deref(), map.optional).await?);
        }
        if let Some(secret) = &source.secret {
            files.append(&mut self.secret(&secret.name, secret.items.as_deref(), secret.optional).await?);
        }
        if let Some(downward) = &source.downward_api {
            files.append(&mut self.downward(pod, downward.items.as_deref())?);
        }
        Ok(files)
    }

    /// A real token of the pod's ServiceAccount, requested again when most of its lifetime is over.
    async fn token(&mut self, pod: &Pod, wanted: &ServiceAccountTokenProjection) -> Result<String> {
        let lifetime = wanted.expiration_seconds.unwrap_or(3600);
        if let Some((made, token)) = self.tokens.get(&wanted.path)
            && made.elapsed() < Duration::from_secs(lifetime.unsigned_abs()).mul_f64(0.8)
        {
            return Ok(token.clone());
        }
        let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: wanted.audience.iter().cloned().collect(),
                expiration_seconds: Some(lifetime),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: pod.metadata.name.clone(),
                    uid: pod.uid(),
                }),
            },
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace);
        let made = accounts.create_token_request(account, &PostParams::default(), &request).await?;
        let token = made.status.context("a token request without a token")?.token;
        self.tokens.insert(wanted.path.clone(), (Instant::now(), token.clone()));
        Ok(token)
    }

    async fn secret(&self, name: &str, items: Option<&[KeyToPath]>, optional: Option<bool>) -> Result<Files> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        match api.get_opt(name).await? {
            Some(secret) => {
                let data = secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
                chosen(data, items, optional).with_context(|| format!("Secret {name}"))
            }
            None if optional == Some(true) => Ok(Files::new()),
            None => bail!("there is no Secret {name}"),
        }
    }

    async fn config_map(&self, name: &str, items: Option<&[KeyToPath]>, optional: Option<bool>) -> Result<Files> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        match api.get_opt(name).await? {
            Some(map) => {
                let text = map.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes()));
                let binary = map.binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
                chosen(text.chain(binary).collect(), items, optional).with_context(|| format!("ConfigMap {name}"))
            }
            None if optional == Some(true) => Ok(Files::new()),
            None => bail!("there is no ConfigMap {name}"),
        }
    }

    fn downward(&self, pod: &Pod, items: Option<&[DownwardAPIVolumeFile]>) -> Result<Files> {
        let mut files = Files::new();
        for item in items.unwrap_or_default() {
            let field = item.field_ref.as_ref().context("only fieldRef is known here")?;
            files.insert(item.path.clone(), spec::field(pod, field, &self.ip)?.into_bytes());
        }
        Ok(files)
    }
}

/// The keys that `items` name, at their paths; all keys without items.
fn chosen(mut data: Files, items: Option<&[KeyToPath]>, optional: Option<bool>) -> Result<Files> {
    let Some(items) = items else { return Ok(data) };
    let mut files = Files::new();
    for item in items {
        match data.remove(&item.key) {
            Some(bytes) => {
                files.insert(item.path.clone(), bytes);
            }
            None if optional == Some(true) => {}
            None => bail!("there is no key {}", item.key),
        }
    }
    Ok(files)
}

/// Writes a version of the files; all of them change in one step, by links: `name → ..data/name`, `..data → ..version`.
fn write(folder: &Path, version: u64, files: &Files) -> Result<()> {
    let data = folder.join(format!("..{version}"));
    for (path, bytes) in files {
        let file = data.join(path);
        fs::create_dir_all(file.parent().unwrap_or(&data))?;
        fs::write(file, bytes)?;
        let first = path.split('/').next().unwrap_or(path);
        if folder.join(first).symlink_metadata().is_err() {
            symlink(Path::new("..data").join(first), folder.join(first))?;
        }
    }
    fs::create_dir_all(&data)?;
    let new = folder.join("..data.new");
    symlink(format!("..{version}"), &new)?;
    fs::rename(new, folder.join("..data"))?;
    if let Some(before) = version.checked_sub(1) {
        fs::remove_dir_all(folder.join(format!("..{before}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_version_replaces_all_files_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = |text: &str| Files::from([("tls.crt".to_owned(), text.into()), ("a/b".to_owned(), text.into())]);
        write(folder.path(), 0, &file("old")).unwrap();
        write(folder.path(), 1, &file("new")).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("tls.crt")).unwrap(), "new");
        assert_eq!(fs::read_to_string(folder.path().join("a/b")).unwrap(), "new");
        assert!(!folder.path().join("..0").exists());
    }

    #[test]
    fn items_choose_keys_and_rename_them() {
        let data = Files::from([("one".to_owned(), vec![1]), ("two".to_owned(), vec![2])]);
        let item = |key: &str| KeyToPath { key: key.to_owned(), path: format!("to/{key}"), mode: None };
        assert_eq!(
            chosen(data.clone(), Some(&[item("two")]), None).unwrap(),
            Files::from([("to/two".to_owned(), vec![2])])
        );
        assert!(chosen(data.clone(), Some(&[item("three")]), None).is_err());
        assert!(chosen(data, Some(&[item("three")]), Some(true)).unwrap().is_empty());
    }
}
